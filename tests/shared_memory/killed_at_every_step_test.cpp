// Processes killed at every system call of creating, attaching, detaching, removing and replacing (M4, M6). Whatever is left,
// nobody ever sees a half-made segment, the next creator succeeds, and no space is lost.
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include <array>

#include "segments.hpp"
#include "step_tracer.hpp"

using namespace segments;

namespace {
using holdfast::test::StepTracer;

/// Has a /dev/shm of its own if the machine permits it: only there can be told that no space is lost.
class SegmentSteps : public Segments {
 protected:
  static void SetUpTestSuite() {
    static const bool own = ::unshare(CLONE_NEWNS) == 0 &&
                            ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                            ::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=64m,mode=1777") == 0;
    own_folder_ = own;
  }

  struct Space {
    std::uint64_t blocks = 0, inodes = 0;
    bool operator==(const Space&) const = default;
    friend void PrintTo(const Space& space, std::ostream* out) {
      *out << space.blocks << " blocks and " << space.inodes << " inodes free";
    }
  };
  [[nodiscard]] static Space space() {
    struct statvfs found {};
    if (own_folder_) {
      EXPECT_EQ(::statvfs(folder.c_str(), &found), 0);
    }
    return {found.f_bfree, found.f_ffree};
  }

  /// Lets a worker make this call (see make_steps) and kills it at the first step, another one at the second step, and so on,
  /// until one gets to its end. Before each: prepare. When it is about to begin: begin. While it stands still: look. When it
  /// is dead: check.
  void kill_at_every_step(
      const std::vector<Argument>& call, const std::function<void()>& prepare, const std::function<void()>& look,
      const std::function<void()>& check, const std::function<void()>& begin = [] {}) {
    const auto before = space();
    for (std::size_t step = 0;; ++step) {
      ASSERT_LT(step, 1000U) << "it never ends";
      prepare();
      auto victim = start("make_steps", call);
      begin();
      StepTracer tracer{victim.pid()};
      victim.release();
      const bool more = tracer.run_to(step);
      SCOPED_TRACE("killed at step " + std::to_string(step) + ", system call " + std::to_string(tracer.call()));
      ASSERT_TRUE(victim.is_running()) << victim.report();
      look();
      victim.kill();
      check();
      EXPECT_EQ(leftovers(), std::vector<fs::path>{});
      EXPECT_EQ(space(), before);
      if (HasFailure()) return;
      if (more) continue;
      EXPECT_GE(step, 8U) << "so few steps prove nothing";
      RecordProperty("steps", static_cast<int>(step));
      return;
    }
  }

  /// To those who look, a segment is there as a whole or not at all.
  void expect_whole_or_nothing() const {
    for (const auto& path : leftovers()) {
      EXPECT_EQ(path, this->path()) << "no other names";
      EXPECT_GE(fs::file_size(path), 4096U);
    }
    const auto info = listed();
    if (!info) return;
    EXPECT_TRUE(info->state == SegmentState::in_use || info->state == SegmentState::orphaned) << to_string(*info);
    EXPECT_TRUE(info->size == old_size || info->size == new_size) << to_string(*info);
    EXPECT_TRUE(info->creator) << to_string(*info);
  }
  void expect_not_in_use() const {
    expect_whole_or_nothing();
    EXPECT_NE(state(), SegmentState::in_use) << to_string(*listed());
  }
  /// The next one creates as if nothing had been.
  void expect_next_creator_succeeds() const {
    auto memory = SharedMemory::create(name_, 3000);
    EXPECT_EQ(memory.size(), 3000U);
    const auto bytes = memory.bytes();
    EXPECT_TRUE(std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; }));
    EXPECT_EQ(listed()->users, std::vector{ProcessIdentity::self()});
    memory.detach();
  }
  /// What a killed user leaves, with something in it.
  void leave_orphan(const char* options = "") const {
    auto user = start("use_and_write", {-1, "create", name_, old_size, options});
    user.kill();
    ASSERT_EQ(state(), SegmentState::orphaned);
  }

  static constexpr std::size_t old_size = 5000, new_size = 9000;
  static inline bool own_folder_ = false;
};

const std::function<void()> nothing = [] {};
}  // namespace

TEST_F(SegmentSteps, AfterACreatorKilledAtAnyStepTheNextOneSucceeds) {
  for (const char* how : {"create", "create_or_attach"}) {
    SCOPED_TRACE(how);
    kill_at_every_step(
        {"call", how, name_, new_size}, nothing, [&] { expect_whole_or_nothing(); },
        [&] {
          expect_not_in_use();
          expect_next_creator_succeeds();
        });
  }
}

TEST_F(SegmentSteps, AfterACreatorKilledAtAnyStepWhatIsThereIsComplete) {
  std::size_t attached = 0, refused = 0;
  kill_at_every_step({"call", "create", name_, new_size, "until_removed"}, nothing, nothing, [&] {
    try {
      const auto memory = SharedMemory::attach(name_, 0s);
      const auto bytes = memory.bytes();
      EXPECT_EQ(bytes.size(), new_size);
      EXPECT_TRUE(std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; }));
      ++attached;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory) << error.what();
      ++refused;
    }
    expect_not_in_use();
    SharedMemory::remove(name_);
  });
  EXPECT_GT(attached, 0U) << "killed after it was complete";
  EXPECT_GT(refused, 0U) << "killed before";
}

// The attacher waits before there is anything; its creator is killed, and another one creates.
TEST_F(SegmentSteps, AnAttacherThatWaitsEndsWithACompleteSegmentWhereverItsCreatorIsKilled) {
  std::optional<WorkerProcess> attacher;
  const auto attacher_has = [&](std::size_t size) {
    return wait_for_output(*attacher, "\nhas " + std::to_string(size) + " bytes, 0 of them not zero\n");
  };
  std::size_t from_first = 0, from_next = 0;
  bool complete = false;
  kill_at_every_step(
      {"call", "create", name_, old_size},
      [&] {
        attacher.emplace(start("wait_then_use", {"attach", name_}));
        ASSERT_TRUE(wait_until([&] { return state_of(attacher->pid()) == 'S'; })) << attacher->report();
      },
      [&] {
        complete = exists();
        if (complete) {
          EXPECT_TRUE(attacher_has(old_size)) << "its creator lives, and stands still: " << attacher->report();
        }
      },
      [&] {
        if (complete) {
          EXPECT_EQ(holder_told_by([&] { static_cast<void>(SharedMemory::create(name_, new_size)); }), attacher->pid());
          EXPECT_EQ(attempt({}, {"attach", name_}), "has 5000 bytes, 0 of them not zero");
          ++from_first;
        } else {
          auto memory = SharedMemory::create(name_, new_size);
          EXPECT_TRUE(attacher_has(new_size)) << attacher->report();
          memory.detach();
          EXPECT_TRUE(exists()) << "the attacher has it";
          ++from_next;
        }
        finish(*attacher);
        EXPECT_FALSE(exists());
        expect_next_creator_succeeds();
      });
  EXPECT_GT(from_first, 0U);
  EXPECT_GT(from_next, 0U);
}

// Who saw the last user alive gets in, though that user is dead by then. Others have seen an orphan, and wait: they get in, too.
TEST_F(SegmentSteps, AnAttacherThatWaitsBesideAnOrphanNoticesThatSomebodyHasEnteredIt) {
  std::size_t entered = 0;
  for (std::size_t step = 0;; ++step) {
    ASSERT_LT(step, 1000U) << "it never ends";
    SCOPED_TRACE("the first user is killed when the second one has made " + std::to_string(step) + " steps");
    auto first = start("use_and_write", {-1, "create", name_, old_size});
    auto second = start("make_steps", {"call", "attach", name_});
    {
      StepTracer tracer{second.pid()};
      second.release();
      if (!tracer.run_to(step)) break;
      first.kill();
      auto waiting = start("wait_then_use", {"attach", name_});
      ASSERT_TRUE(wait_until([&] { return state_of(waiting.pid()) == 'S'; })) << waiting.report();
      ASSERT_TRUE(tracer.let_go());
      ASSERT_TRUE(wait_until([&] { return state_of(second.pid()) == 'S'; })) << second.report();
      const bool has_entered = state() == SegmentState::in_use;
      entered += has_entered ? 1U : 0U;
      auto third = has_entered ? std::optional<SharedMemory>{} : SharedMemory::create(name_, old_size);
      EXPECT_TRUE(wait_for_output(waiting, "\nhas 5000 bytes,")) << waiting.report();
      second.kill();
      third.reset();
      finish(waiting);
    }
    SharedMemory::remove(name_);
    if (HasFailure()) return;
  }
  SharedMemory::remove(name_);  // of the two who got to the end
  EXPECT_GT(entered, 0U) << "or nothing of this has been seen";
}

TEST_F(SegmentSteps, ReplacingAnOrphanMayEndAnywhere) {
  for (const char* how : {"create", "create_or_attach"}) {
    SCOPED_TRACE(how);
    const auto size = how == std::string_view{"create"} ? new_size : old_size;
    kill_at_every_step(
        {"call", how, name_, size}, [&] { leave_orphan(); }, [&] { expect_whole_or_nothing(); },
        [&] {
          expect_not_in_use();
          expect_next_creator_succeeds();
        });
  }
}

TEST_F(SegmentSteps, ReplacingAnEmptyFileMayEndAnywhere) {
  kill_at_every_step(
      {"call", "create", name_, new_size}, [&] { write_file(path(), ""); }, nothing,
      [&] {
        const auto info = listed();
        EXPECT_TRUE(!info || info->state == SegmentState::incomplete || info->state == SegmentState::orphaned)
            << to_string(*info);
        expect_next_creator_succeeds();
      });
}

// Who comes while an orphan is being replaced by somebody who is killed at it attaches to whatever lives in the end.
TEST_F(SegmentSteps, WhileAnOrphanIsReplacedAnAttacherGetsACompleteSegment) {
  std::optional<WorkerProcess> attacher;
  kill_at_every_step(
      {"call", "create", name_, old_size}, [&] { leave_orphan(); },
      [&] {
        attacher.emplace(start("wait_then_use", {"attach", name_}));
      },
      [&] {
        std::optional<SharedMemory> memory;
        try {
          memory.emplace(SharedMemory::create(name_, new_size));
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), std::errc::file_exists) << "the attacher has it: " << error.what();
        }
        EXPECT_TRUE(wait_for_output(*attacher, "\nhas ")) << attacher->report();
        const auto output = attacher->output();
        const bool next = output.find("\nhas 9000 bytes, 0 of them not zero\n") != std::string::npos;
        const bool first = output.find("\nhas 5000 bytes, 0 of them not zero\n") != std::string::npos;
        const bool orphan = output.find("\nhas 5000 bytes, 8 of them not zero\n") != std::string::npos;
        EXPECT_TRUE(memory ? next : first || orphan) << output;
        memory.reset();
        EXPECT_EQ(listed()->users, std::vector{identity_of(*attacher)});
        finish(*attacher);
      });
}

TEST_F(SegmentSteps, AnAttacherMayBeKilledAnywhere) {
  for (const char* how : {"attach", "create_or_attach", "attach_read_only"}) {
    SCOPED_TRACE(how);
    std::optional<SharedMemory> memory;
    kill_at_every_step(
        {"call", how, name_, old_size}, [&] { memory.emplace(SharedMemory::create(name_, old_size)); },
        [&] { expect_whole_or_nothing(); },
        [&] {
          EXPECT_EQ(listed()->users, std::vector{ProcessIdentity::self()});
          EXPECT_EQ(attempt({}, {"attach", name_}), "has 5000 bytes, 0 of them not zero");
          memory.reset();
          EXPECT_FALSE(exists()) << "a killed one does not keep it from being removed";
          expect_next_creator_succeeds();
        });
  }
}

TEST_F(SegmentSteps, TheLastUserMayBeKilledAtAnyStepOfDetaching) {
  for (const char* how : {"create", "create_or_attach"}) {
    SCOPED_TRACE(how);
    kill_at_every_step(
        {"detach", how, name_, old_size}, nothing, [&] { expect_whole_or_nothing(); },
        [&] {
          expect_not_in_use();
          expect_next_creator_succeeds();
        });
  }
}

TEST_F(SegmentSteps, TheLastReaderMayBeKilledAtAnyStepOfDetaching) {
  std::optional<SharedMemory> memory;
  kill_at_every_step(
      {"detach", "attach_read_only", name_, old_size}, [&] { memory.emplace(SharedMemory::create(name_, old_size)); },
      [&] { expect_whole_or_nothing(); },
      [&] {
        expect_not_in_use();
        expect_next_creator_succeeds();
      },
      [&] {
        memory.reset();
        EXPECT_EQ(state(), SegmentState::in_use) << "by the reader";
      });
}

TEST_F(SegmentSteps, AUserKilledAtAnyStepOfDetachingLeavesItToTheOthers) {
  std::optional<SharedMemory> memory;
  kill_at_every_step(
      {"detach", "attach", name_, old_size}, [&] { memory.emplace(SharedMemory::create(name_, old_size)); },
      [&] { EXPECT_TRUE(exists()); },
      [&] {
        EXPECT_EQ(listed()->users, std::vector{ProcessIdentity::self()});
        memory.reset();
        EXPECT_FALSE(exists());
      });
}

TEST_F(SegmentSteps, WhoRemovesMayBeKilledAtAnyStep) {
  kill_at_every_step(
      {"call", "remove", name_}, [&] { leave_orphan("until_removed"); }, [&] { expect_whole_or_nothing(); },
      [&] {
        expect_not_in_use();
        const bool there = exists();
        EXPECT_EQ(SharedMemory::remove(name_), there) << "the next one can remove it";
        EXPECT_FALSE(exists());
        expect_next_creator_succeeds();
      });
}

// A stopped process is alive: it may go on. Nobody hangs behind it for longer than his deadline.
TEST_F(SegmentSteps, WhoIsStoppedAnywhereHoldsUpNobodyBeyondTheirDeadline) {
  std::size_t step = 0;
  const auto look = [&] {
    const auto began = std::chrono::steady_clock::now();
    const std::array<const char*, 3> in_turn{"create", "create_or_attach", "remove"};
    for (const char* how : {"attach", "list", in_turn[step++ % in_turn.size()]})
      EXPECT_FALSE(attempt({}, {how, name_, old_size, "", 0}).empty());
    EXPECT_LT(std::chrono::steady_clock::now() - began, 20s);
  };
  const auto check = [&] {
    expect_not_in_use();
    expect_next_creator_succeeds();
  };
  kill_at_every_step(
      {"call", "create", name_, old_size}, [&] { leave_orphan(); }, look, check);
  kill_at_every_step(
      {"call", "remove", name_}, [&] { leave_orphan(); }, look, check);
}
