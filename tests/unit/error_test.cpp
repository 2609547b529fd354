// Error says what was tried, on what, why not and what to do; its code is the one to branch on.
#include <holdfast/error.hpp>
#include <holdfast/process_identity.hpp>

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

using holdfast::errc;
using holdfast::Error;

static_assert(std::is_nothrow_copy_constructible_v<Error> && std::is_nothrow_copy_assignable_v<Error> &&
              std::is_nothrow_move_constructible_v<Error> && std::is_nothrow_move_assignable_v<Error>);
static_assert(std::is_base_of_v<std::system_error, Error>);

namespace {
std::error_code code_of(std::errc code) { return std::make_error_code(code); }
}  // namespace

TEST(Error, SaysOperationSubjectReasonAndRemedy) {
  EXPECT_STREQ(Error(code_of(std::errc::no_space_on_device), "create", "/data/run.lock", "the disk is full",
                     "free some space in /data")
                   .what(),
               "cannot create '/data/run.lock': the disk is full (free some space in /data)");
}

TEST(Error, TakesTheReasonFromItsCodeWhereNoneIsGiven) {
  EXPECT_STREQ(Error(code_of(std::errc::permission_denied), "lock", "/a").what(),
               "cannot lock '/a': Permission denied");
  EXPECT_STREQ(Error(code_of(std::errc::permission_denied), "lock", "/a", {}, "ask its owner").what(),
               "cannot lock '/a': Permission denied (ask its owner)");
  EXPECT_STREQ(Error(errc::corrupt, "read", "x").what(), "cannot read 'x': it contradicts itself");
}

TEST(Error, WithoutASubjectStillMakesASentence) {
  EXPECT_STREQ(Error(code_of(std::errc::not_enough_memory), "start", "").what(),
               "cannot start: Cannot allocate memory");
}

TEST(Error, ShowsASubjectOnOneLineAndKeepsItAsItIs) {
  const std::string path{"/tmp/two\nlines\x1b[2J\xff"};
  const Error error{code_of(std::errc::not_a_directory), "lock", path};
  EXPECT_STREQ(error.what(), R"(cannot lock '/tmp/two\nlines\x1b[2J\xff': Not a directory)");
  EXPECT_EQ(error.subject(), path);
}

TEST(Error, IsComparedByCodeWithBothFamilies) {
  const Error posix{code_of(std::errc::permission_denied), "lock", "/a"};
  EXPECT_TRUE(posix.code() == std::errc::permission_denied);
  EXPECT_FALSE(posix.code() == errc::foreign);
  // As the operating system reports it, in the system's own category.
  const Error system{{EACCES, std::system_category()}, "lock", "/a"};
  EXPECT_TRUE(system.code() == std::errc::permission_denied);
  const Error own{errc::foreign, "lock", "/a"};
  EXPECT_TRUE(own.code() == errc::foreign);
  EXPECT_FALSE(own.code() == errc::corrupt);
  EXPECT_STREQ(own.code().category().name(), "holdfast");
}

TEST(Error, HasWordsForEveryCode) {
  for (const auto code : {errc::foreign, errc::corrupt, errc::other_host, errc::broken}) {
    const auto message = holdfast::make_error_code(code).message();
    EXPECT_FALSE(message.empty());
    EXPECT_EQ(message.find("unknown"), std::string::npos) << message;
  }
  EXPECT_EQ(holdfast::category().message(999), "unknown error 999");
}

TEST(Error, CopiesShareTheTextAndOutliveTheOriginal) {
  auto original =
      std::make_unique<Error>(errc::broken, "unlock", "/some/long/path/that/needs/the/heap", "because", "so");
  Error copy{*original};
  EXPECT_EQ(static_cast<const void*>(copy.what()), static_cast<const void*>(original->what()));
  Error assigned{errc::foreign, "a", "b"};
  assigned = *original;
  original.reset();
  EXPECT_STREQ(copy.what(), "cannot unlock '/some/long/path/that/needs/the/heap': because (so)");
  EXPECT_STREQ(assigned.what(), copy.what());
}

TEST(Error, KeepsItsTextWhenMovedFrom) {
  Error first{errc::broken, "unlock", "/a"};
  const Error second{std::move(first)};
  EXPECT_STREQ(first.what(), second.what());  // NOLINT(bugprone-use-after-move): that is the claim
}

TEST(Error, IsCaughtAsSystemErrorWithItsOwnWords) {
  try {
    throw Error{code_of(std::errc::read_only_file_system), "lock", "/mnt/a"};
  } catch (const std::system_error& error) {
    EXPECT_STREQ(error.what(), "cannot lock '/mnt/a': Read-only file system");
    EXPECT_TRUE(error.code() == std::errc::read_only_file_system);
  }
}

TEST(Error, NamesWhoIsInTheWayIfKnown) {
  const auto self = std::make_shared<const holdfast::ProcessIdentity>(holdfast::ProcessIdentity::self());
  const Error error{errc::other_host, "lock", "/a", {}, {}, self};
  ASSERT_NE(error.holder(), nullptr);
  EXPECT_EQ(*error.holder(), *self);
  EXPECT_EQ(Error(errc::other_host, "lock", "/a").holder(), nullptr);
}
