// Proves that progress is shown on a terminal, and that nothing of it is anywhere else.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "run_tool.hpp"
#include "tool/progress.hpp"

namespace {
using holdfast::tool::Progress;

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Close>;

/// A terminal and whoever looks at it.
struct Terminal {
  int viewer = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  File stream;

  Terminal() {
    if (viewer < 0 || ::grantpt(viewer) != 0 || ::unlockpt(viewer) != 0) return;
    stream.reset(std::fopen(::ptsname(viewer), "we"));
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal() { ::close(viewer); }

  /// Reads until it has seen this, for 30 s at most.
  std::string read_until(const std::string& end) const {
    std::string seen;
    pollfd waiting{viewer, POLLIN, 0};
    while (seen.find(end) == std::string::npos && ::poll(&waiting, 1, 30'000) == 1) {
      std::array<char, 512> buffer{};
      const auto size = ::read(viewer, buffer.data(), buffer.size());
      if (size <= 0) break;
      seen.append(buffer.data(), static_cast<std::size_t>(size));
    }
    return seen;
  }
};

TEST(ToolProgress, IsDrawnOnATerminalAndClearedAtTheEnd) {
  const Terminal terminal;
  if (!terminal.stream) GTEST_SKIP() << "SKIPPED: this machine has no pseudo terminals (/dev/pts)";
  {
    Progress progress{terminal.stream.get(), 4};
    {
      const Progress::Phase phase{progress, "the first", 1, [] { return 0.5; }};
      EXPECT_NE(terminal.read_until("the first").find(" 12 %"), std::string::npos);
    }
    const Progress::Phase phase{progress, "the second", 3, [] { return 1.0; }};
    EXPECT_NE(terminal.read_until("the second").find("100 %"), std::string::npos);
  }
  std::fflush(terminal.stream.get());
  const auto end = terminal.read_until("\r\x1b[K");
  EXPECT_TRUE(end.ends_with("\r\x1b[K")) << end;
}

TEST(ToolProgress, LeavesNothingWhereThereIsNoTerminal) {
  const File file{std::tmpfile()};
  {
    Progress progress{file.get(), 1};
    const Progress::Phase phase{progress, "the only one", 1, [] { return 0.5; }};
  }
  EXPECT_EQ(std::ftell(file.get()), 0);
}
}  // namespace
