// Proves what becomes of directories in which locking cannot be tried, or not for long: one line that says why.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "run_tool.hpp"

namespace {
namespace fs = std::filesystem;
using holdfast::harness::TempDir;
using holdfast::test::contents;
using holdfast::test::Finished;
using holdfast::test::lines;
using holdfast::test::run;
using holdfast::test::Strings;
using holdfast::test::validate;

void expect_refusal(const Finished& run, const std::string& reason) {
  EXPECT_EQ(run.code, 2) << run;
  EXPECT_TRUE(run.output.empty()) << run;
  EXPECT_EQ(lines(run.errors), 1) << run;
  EXPECT_TRUE(run.errors.starts_with("holdfast: cannot ")) << run;
  EXPECT_NE(run.errors.find(reason), std::string::npos) << run;
}

/// Runs a shell script with mounts of its own: $0 is the tool, $1 the directory. Empty: not permitted here.
std::vector<Finished> with_mounts(const std::string& script, const fs::path& directory) {
  Strings arguments{"--mount", "--propagation", "private"};
  if (::geteuid() != 0) arguments.insert(arguments.begin(), {"--user", "--map-root-user"});
  auto probe = arguments;
  probe.insert(probe.end(), {"mount", "-t", "tmpfs", "none", directory});
  if (run("/usr/bin/unshare", probe).code != 0) return {};
  arguments.insert(arguments.end(), {"sh", "-ec", script, HOLDFAST_TOOL, directory});
  return {run("/usr/bin/unshare", arguments)};
}
#define SKIP_IF_EMPTY(runs) \
  if ((runs).empty()) GTEST_SKIP() << "SKIPPED: no permission to mount a file system (root or user namespaces needed)"

TEST(ToolDirectory, Missing) {
  const TempDir dir;
  const auto missing = dir / "missing";
  const auto run = validate({missing});
  expect_refusal(run, "No such file or directory");
  EXPECT_EQ(run.errors, "holdfast: cannot validate locking in '" + missing.string() + "': No such file or directory\n");
}

TEST(ToolDirectory, EmptyName) { expect_refusal(validate({""}), "directory without name"); }

TEST(ToolDirectory, AFile) {
  const TempDir dir;
  std::ofstream{dir / "file"} << "text";
  expect_refusal(validate({dir / "file"}), "Not a directory");
}

TEST(ToolDirectory, ATemporaryOneThatCannotBeMade) {
  const TempDir dir;
  expect_refusal(validate({}, {.environment = {{"TMPDIR", dir / "missing"}}}), "No such file or directory");
}

TEST(ToolDirectory, NotWritableForThisUser) {
  const TempDir dir;
  fs::create_directory(dir / "closed");
  auto tool = fs::path{HOLDFAST_TOOL};
  Strings command{"validate", dir / "closed"};
  std::string program = HOLDFAST_TOOL;
  if (::geteuid() == 0) {  // for whom every directory is open: somebody else, who may not be able to reach this build
    fs::permissions(dir.path(), fs::perms{0755});
    fs::copy_file(tool, dir / "tool");
    program = "/usr/bin/setpriv";
    command.insert(command.begin(), {"--reuid=65534", "--regid=65534", "--clear-groups", dir / "tool"});
  }
  fs::permissions(dir / "closed", fs::perms{0555});
  expect_refusal(run(program, command), "Permission denied");
}

TEST(ToolDirectory, ReadOnlyFileSystem) {
  const TempDir dir;
  const auto runs = with_mounts("mount -t tmpfs -o ro none \"$1\"; exec \"$0\" validate \"$1\"", dir.path());
  SKIP_IF_EMPTY(runs);
  expect_refusal(runs[0], "Read-only file system");
}

TEST(ToolDirectory, FullFileSystem) {
  const TempDir dir;
  const auto runs = with_mounts(
      "mount -t tmpfs -o size=64k none \"$1\"; head -c 64k /dev/zero >\"$1/filler\"; ls -A \"$1\" >&2;"
      "\"$0\" validate \"$1\" && code=0 || code=$?; ls -A \"$1\" >&2; exit $code",
      dir.path());
  SKIP_IF_EMPTY(runs);
  EXPECT_EQ(runs[0].code, 2) << runs[0];
  EXPECT_EQ(runs[0].errors, "filler\nholdfast: cannot validate locking in '" + dir.path().string() +
                                "': No space left on device\nfiller\n");
}

TEST(ToolDirectory, NoInodes) {
  const TempDir dir;
  const auto runs = with_mounts("mount -t tmpfs -o nr_inodes=3 none \"$1\"; exec \"$0\" validate \"$1\"", dir.path());
  SKIP_IF_EMPTY(runs);
  expect_refusal(runs[0], "no inodes left on the file system");
}

// Enough for one, not for ten: it can be tried, and what the workers meet is in the verdict.
TEST(ToolDirectory, InodesThatRunOutAreAReason) {
  const TempDir dir;
  const auto runs = with_mounts(
      "mount -t tmpfs -o nr_inodes=12 none \"$1\"; \"$0\" validate \"$1\" && code=0 || code=$?; ls -A \"$1\"; exit "
      "$code",
      dir.path());
  SKIP_IF_EMPTY(runs);
  EXPECT_EQ(runs[0].code, 1) << runs[0];
  EXPECT_NE(runs[0].output.find("VERDICT: DOES NOT HOLD: contention: "), std::string::npos) << runs[0];
  EXPECT_NE(runs[0].output.find("no inodes left on the file system"), std::string::npos) << runs[0];
  EXPECT_EQ(lines(runs[0].output.substr(runs[0].output.find("VERDICT"))), 1) << "nothing may be left\n" << runs[0];
}

TEST(ToolDirectory, TheFileSystemIsNamed) {
  const TempDir dir;
  const auto runs = with_mounts(
      "mount -t tmpfs none \"$1\"; mkdir \"$1/low\" \"$1/up\" \"$1/work\" \"$1/all\"; echo >\"$1/low/file\";"
      "\"$0\" validate \"$1\" --processes 2 --json;"
      "mount -t overlay -o lowerdir=\"$1/low\",upperdir=\"$1/up\",workdir=\"$1/work\" none \"$1/all\";"
      "exec \"$0\" validate \"$1/all\" --processes 2 --json",
      dir.path());
  SKIP_IF_EMPTY(runs);
  EXPECT_EQ(runs[0].code, 0) << runs[0];
  EXPECT_NE(runs[0].output.find("{\"verdict\":\"holds\",\"file_system\":\"tmpfs\""), std::string::npos) << runs[0];
  EXPECT_NE(runs[0].output.find("{\"verdict\":\"holds\",\"file_system\":\"overlay\""), std::string::npos) << runs[0];
}

TEST(ToolDirectory, APidNamespaceIsNamed) {
  const TempDir dir;
  Strings arguments{"--pid", "--fork", "--mount-proc", "--kill-child"};
  if (::geteuid() != 0) arguments.insert(arguments.begin(), {"--user", "--map-root-user"});
  auto probe = arguments;
  probe.emplace_back("true");
  if (run("/usr/bin/unshare", probe).code != 0) GTEST_SKIP() << "SKIPPED: no permission for a PID namespace";
  arguments.insert(arguments.end(), {HOLDFAST_TOOL, "validate", dir.path(), "--processes", "2"});
  const auto finished = run("/usr/bin/unshare", arguments);
  EXPECT_EQ(finished.code, 0) << finished;
  EXPECT_NE(finished.output.find("signs of one: PID namespace pid:["), std::string::npos) << finished;
}
}  // namespace
