// One process, several identities: after a fork, after an exec, and none too many for threads.
#include "process_identity.hpp"

#include <set>
#include <string>

#include <dlfcn.h>

using namespace identities;

TEST(ProcessIdentityForkAndExec, ChildSignsForItselfHoweverItWasMade) { output_of({}, "sign_in_every_child"); }

TEST(ProcessIdentityForkAndExec, ChildSignsForItselfWhereTheKernelCannotClearItsMemory) {
  output_of({"no_wipe"}, "sign_in_every_child");
}

TEST(ProcessIdentityForkAndExec, ChildThatIsNumberOneLikeItsParentSignsForItself) {
  SKIP_WHERE_FORBIDDEN({"pid", "mount", "proc"});
  const Steps number_one{"pid", "mount", "proc"};
  output_of(number_one, "sign_as_number_one_twice", {"clone"});
  output_of(number_one, "sign_as_number_one_twice", {"fork"});
  output_of({"pid", "mount", "proc", "no_wipe"}, "sign_as_number_one_twice", {"fork"});
}

TEST(ProcessIdentityForkAndExec, ExecKeepsTheProcessAndChangesTheImage) {
  Live process{{}, "replace_image"};
  const auto lines = lines_of(process.worker);
  ASSERT_EQ(lines.size(), 3U) << process.worker.report();
  const auto &former = process.identity, now = ProcessIdentity::decode(lines[1]);
  for (const auto same : {boot, pid_namespace, time_namespace, pid, start})
    EXPECT_EQ(field(former, same), field(now, same));
  EXPECT_NE(field(former, nonce), field(now, nonce));
  EXPECT_NE(former, now);
  EXPECT_EQ(lines[2], "dead") << "to itself its former image is gone";
  EXPECT_EQ(former.liveness(), Liveness::alive) << "to others the process lives";
  EXPECT_EQ(now.liveness(), Liveness::alive);
  process.worker.kill();
  EXPECT_EQ(former.liveness(), Liveness::dead);
  EXPECT_EQ(now.liveness(), Liveness::dead);
}

TEST(ProcessIdentityForkAndExec, NoTwoProcessesAndImagesHaveTheSameNonce) {
  std::set<std::string> seen;
  for (int i = 0; i < 8; ++i) {
    const Live process{{}, "replace_image"};
    EXPECT_TRUE(seen.insert(field(process.identity, nonce)).second);
    EXPECT_TRUE(seen.insert(field(ProcessIdentity::decode(lines_of(process.worker).at(1)), nonce)).second);
  }
}

TEST(ProcessIdentityThreads, SignOnceHoweverManyAskFirst) { output_of({}, "sign_in_many_threads"); }

TEST(ProcessIdentityThreads, SignOnceWhereTheKernelCannotClearTheirMemory) {
  output_of({"no_wipe"}, "sign_in_many_threads");
}

TEST(ProcessIdentityForkAndExec, ForkDuringTheFirstSignatureLocksNobodyOut) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer's own allocator may be locked for ever in a forked child of several threads";
#endif
  for (int i = 0; i < 5; ++i) output_of({}, "fork_during_first_use");
  for (int i = 0; i < 5; ++i) output_of({"no_wipe"}, "fork_during_first_use");
}

TEST(ProcessIdentityForkAndExec, TwoCopiesOfTheLibraryInOneProgramAreOneIdentity) {
  void* const module = ::dlopen(IDENTITY_COPY, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(module, nullptr) << ::dlerror();
  const auto other_self = reinterpret_cast<const ProcessIdentity* (*)()>(::dlsym(module, "other_self"));
  ASSERT_NE(other_self, nullptr);
  const ProcessIdentity& other = *other_self();
  ASSERT_NE(&other, &ProcessIdentity::self()) << "it must be a copy";
  EXPECT_EQ(other, ProcessIdentity::self());
  EXPECT_EQ(other.liveness(), Liveness::alive) << "not an image before exec";
}
