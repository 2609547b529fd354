// Who holds a lock, in words.
#include <holdfast/ownership.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>

using namespace std::chrono_literals;
using holdfast::Holder;
using holdfast::Liveness;
using holdfast::LockOutcome;
using holdfast::ProcessIdentity;

namespace {
const std::string me = to_string(ProcessIdentity::self());

/// Long enough ago for the text not to change while the test runs.
std::chrono::system_clock::time_point an_hour_ago() { return std::chrono::system_clock::now() - 72min - 30s; }
}  // namespace

TEST(Ownership, SaysWhoHoldsItAndSinceWhen) {
  EXPECT_EQ(to_string(Holder{ProcessIdentity::self(), Liveness::alive, an_hour_ago()}), "held for 1 h 12 min by " + me);
  EXPECT_EQ(to_string(Holder{ProcessIdentity::self(), Liveness::alive}), "held by " + me) << "since when is unknown";
}

TEST(Ownership, CountsWhoWaits) {
  const Holder holder{ProcessIdentity::self(), Liveness::alive, an_hour_ago(), {2, ProcessIdentity::self()}};
  EXPECT_EQ(to_string(holder), "held for 1 h 12 min by " + me + ", 2 waiting");
}

TEST(Ownership, SaysThatTheOwnerIsDeadOrCannotBeJudged) {
  EXPECT_EQ(to_string(Holder{ProcessIdentity::self(), Liveness::dead, an_hour_ago()}),
            "taken 1 h 12 min ago by " + me + ", which has died since");
  EXPECT_EQ(to_string(Holder{ProcessIdentity::self(), Liveness::unknown, an_hour_ago(), {1, ProcessIdentity::self()}}),
            "held for 1 h 12 min by " + me + ", which may be alive or dead, 1 waiting");
}

TEST(Ownership, SaysThatALockIsNotOurs) {
  const Holder stranger{.owner = std::nullopt, .since = an_hour_ago()};
  EXPECT_EQ(to_string(stranger), "held for 1 h 12 min by another program (holdfast did not make this lock)");
}

TEST(Ownership, OfNobodyIsFree) {
  EXPECT_EQ(to_string(std::optional<Holder>{}), "free");
  EXPECT_EQ(to_string(std::optional<Holder>{Holder{ProcessIdentity::self(), Liveness::alive}}), "held by " + me);
}

TEST(Ownership, SinceTheFutureIsSinceNow) {  // a file system's clock may be ahead
  EXPECT_EQ(to_string(Holder{ProcessIdentity::self(), Liveness::alive, std::chrono::system_clock::now() + 1h}),
            "held for 0 ms by " + me);
}

TEST(Ownership, HasWordsForOutcomes) {
  EXPECT_EQ(holdfast::to_string(LockOutcome::clean), "clean");
  EXPECT_EQ(holdfast::to_string(LockOutcome::owner_died), "owner died");
}
