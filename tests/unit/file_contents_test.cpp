// What can be read of a file, and no exception for what cannot.
#include "file_contents.hpp"

#include <gtest/gtest.h>

#include <string>

using holdfast::contents_of_file;

TEST(FileContents, AreAllOfTheText) {
  const auto status = contents_of_file("/proc/self/status");
  EXPECT_EQ(status.substr(0, 6), "Name:\t");
  EXPECT_EQ(status.back(), '\n');
}

TEST(FileContents, AreEmptyIfThereIsNoFile) { EXPECT_EQ(contents_of_file("/proc/self/no such file"), ""); }

/// As with a file in /proc whose process is reaped in between.
TEST(FileContents, AreEmptyIfTheFileOpensAndCannotBeRead) { EXPECT_EQ(contents_of_file("/proc/self"), ""); }
