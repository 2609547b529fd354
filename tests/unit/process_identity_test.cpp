// The text form of an identity: lossless, one text for one identity, and hostile text is an error and nothing more.
#include <holdfast/process_identity.hpp>

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <climits>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <unistd.h>

using holdfast::errc;
using holdfast::Error;
using holdfast::Liveness;
using holdfast::ProcessIdentity;

namespace {
const std::string boot{"0123456789abcdef0123456789abcdef"};
const std::string worst =
    boot + ".ffffffffffffffff.ffffffffffffffff.2147483647.18446744073709551615.ffffffffffffffff." +
    "%00%01%02%03%04%05%06%07%08%09%0A%0B%0C%0D%FF." + std::string(ProcessIdentity::max_host_encoded, 'h');

const std::vector<std::string> well_formed{
    boot + ".effffffc.effffffa.4211.8812.33e79b1b5e890a69.daq_writer.node7",
    boot + ".effffffc.effffffa.4211.8812.33e79b1b5e890a69.daq-writer.node7.example.org",
    boot + ".effffffc.effffffa.1.6..systemd.node7",  // made by of(): no nonce
    "...4211....",                                   // made without /proc
    ".1.1.1.1.1.%2E%2E%2F.",                         // a program called "../"
    boot + ".1.1.1.1.1.%25%2E%20%28sd-pam%29...",    // a program "%. (sd-pam)" on a host ".."
    boot + ".1.1.1.1.1..%28none%29",
    boot + ".1.1.2147483647.18446744073709551615.ffffffffffffffff.a.b",
    worst,
};

struct Corrupt {
  std::string text;
  std::string_view why;
};
const std::vector<Corrupt> corrupt{
    {"", "less than eight fields"},
    {".", "less than eight fields"},
    {"......", "less than eight fields"},
    {".......", "its pid"},
    {"...x....", "its pid"},
    {"...0....", "its pid"},
    {"...-1....", "its pid"},
    {"...+1....", "its pid"},
    {"...01....", "its pid"},
    {"... 1....", "its pid"},
    {"...1 ....", "its pid"},
    {"...2147483648....", "its pid"},
    {"...99999999999999999999....", "its pid"},
    {"...0x10....", "its pid"},
    {"0...1....", "its boot id"},
    {"0123456789ABCDEF0123456789ABCDEF...1....", "its boot id"},
    {"0123456789abcdef0123456789abcdeg...1....", "its boot id"},
    {"01234567-89ab-cdef-0123-456789abcdef...1....", "its boot id"},
    {".0..1....", "its PID namespace"},
    {".0a..1....", "its PID namespace"},
    {".A..1....", "its PID namespace"},
    {".g..1....", "its PID namespace"},
    {".10000000000000000..1....", "its PID namespace"},
    {"..0.1....", "its time namespace"},
    {"..-1.1....", "its time namespace"},
    {"..0x1.1....", "its time namespace"},
    {"...1.0...", "its start time"},
    {"...1.1f...", "its start time"},
    {"...1.18446744073709551616...", "its start time"},
    {"...1..0..", "its nonce"},
    {"...1..F..", "its nonce"},
    {"...1...a/b.", "its program name"},
    {"...1...a%2fb.", "its program name"},  // digits are capitals
    {"...1...a%2.", "its program name"},
    {"...1...a%.", "its program name"},
    {"...1...%61.", "its program name"},  // a needs no encoding
    {"...1...%2G.", "its program name"},
    {"...1...abcdefghijklmnop.", "its program name is too long"},
    {"...1....a/b", "its host name"},
    {"...1....%2E", "its host name"},  // a dot needs none there
    {"...1....%", "its host name"},
    {"...1....a\nb", "its host name"},
    {"...1....\xc3\xa4", "its host name"},
    {"...1...." + std::string(ProcessIdentity::max_host_encoded + 1, 'h'), "its host name is too long"},
    {worst + "h", "longer than any"},
    {std::string(1 << 20, '.'), "longer than any"},
};

std::string message_for(std::string_view text) {
  try {
    const auto identity = ProcessIdentity::decode(text);
    return "accepted, as " + to_string(identity);
  } catch (const Error& error) {
    EXPECT_TRUE(error.code() == errc::corrupt);
    return error.what();
  }
}

/// The claim about any text at all: none of ours, or the only text of what it says.
::testing::AssertionResult is_refused_or_exact(const std::string& text) {
  const auto identity = ProcessIdentity::try_decode(text);
  if (identity && identity->encode() != text)
    return ::testing::AssertionFailure() << testing::PrintToString(text) << " became " << identity->encode();
  if (!identity && message_for(text).starts_with("accepted")) return ::testing::AssertionFailure() << "decode differs";
  return ::testing::AssertionSuccess();
}
}  // namespace

TEST(ProcessIdentity, OfThisProcessIsComplete) {
  const auto& self = ProcessIdentity::self();
  EXPECT_EQ(self.pid(), ::getpid());
  EXPECT_FALSE(self.program().empty());
  EXPECT_TRUE(self.same_boot());
  EXPECT_EQ(self.liveness(), Liveness::alive);
  EXPECT_EQ(&self, &ProcessIdentity::self());
  std::array<char, 256> host{};
  ASSERT_EQ(::gethostname(host.data(), host.size() - 1), 0);
  EXPECT_TRUE(std::string_view{host.data()}.starts_with(self.host()));
  const auto age = std::chrono::system_clock::now() - self.started();
  EXPECT_GE(age, -std::chrono::seconds{1});
  EXPECT_LT(age, std::chrono::hours{1});
}

TEST(ProcessIdentity, OfItsOwnPidIsTheSameProcessButNotTheSameImage) {
  const auto mine = ProcessIdentity::of(::getpid());
  EXPECT_EQ(mine.pid(), ::getpid());
  EXPECT_EQ(mine.program(), ProcessIdentity::self().program());
  EXPECT_EQ(mine.liveness(), Liveness::alive);
  EXPECT_NE(mine, ProcessIdentity::self());
}

TEST(ProcessIdentity, OfNoProcessIsAnError) {
  for (const std::int64_t pid :
       {std::int64_t{0}, std::int64_t{-1}, std::int64_t{INT_MAX}, std::int64_t{1} << 32 | 1, INT64_MAX, INT64_MIN}) {
    try {
      FAIL() << "process " << pid << " is " << to_string(ProcessIdentity::of(pid));
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == std::errc::no_such_process) << error.what();
      EXPECT_EQ(error.subject(), std::to_string(pid));
    }
  }
}

TEST(ProcessIdentity, GoesThroughItsTextFormUnchanged) {
  const auto& self = ProcessIdentity::self();
  EXPECT_EQ(ProcessIdentity::decode(self.encode()), self);
  EXPECT_EQ(ProcessIdentity::try_decode(self.encode()), self);
  const auto init = ProcessIdentity::of(1);
  EXPECT_EQ(ProcessIdentity::decode(init.encode()), init);
}

TEST(ProcessIdentity, HasOneTextForEachIdentity) {
  for (const auto& text : well_formed) {
    const auto identity = ProcessIdentity::decode(text);
    EXPECT_EQ(identity.encode(), text);
    for (const auto& other : well_formed)
      EXPECT_EQ(identity == ProcessIdentity::decode(other), text == other) << text << '\n' << other;
  }
}

TEST(ProcessIdentity, UnderstandsWhatItReads) {
  const auto identity = ProcessIdentity::decode(boot + ".effffffc.effffffa.4211.8812.1.a%2Fb%0A.n%40.x");
  EXPECT_EQ(identity.pid(), 4211);
  EXPECT_EQ(identity.program(), "a/b\n");
  EXPECT_EQ(identity.host(), "n@.x");
  EXPECT_FALSE(identity.same_boot());
  EXPECT_EQ(identity.started(), std::chrono::system_clock::time_point{});
}

TEST(ProcessIdentity, IsSafeInAFileNameAndFitsBesideALongOne) {
  static_assert(ProcessIdentity::max_encoded == 194);
  EXPECT_EQ(ProcessIdentity::decode(worst).encode().size(), ProcessIdentity::max_encoded);
  for (const auto& text : {ProcessIdentity::self().encode(), worst})
    EXPECT_EQ(text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.%-"),
              std::string::npos)
        << text;
  constexpr std::size_t number = 16, twenty_digits = 20;
  constexpr auto private_directory = sizeof(".") - 1 + 26 + sizeof(".") - 1 + number + sizeof(".") - 1 +
                                     ProcessIdentity::max_encoded + sizeof(".private") - 1;
  constexpr auto ticket =
      sizeof("t.") - 1 + twenty_digits + sizeof(".") - 1 + number + sizeof(".") - 1 + ProcessIdentity::max_encoded;
  static_assert(private_directory <= NAME_MAX && ticket <= NAME_MAX);
}

TEST(ProcessIdentity, RefusesCorruptTextAndSaysWhatIsWrong) {
  for (const auto& [text, why] : corrupt) {
    EXPECT_FALSE(ProcessIdentity::try_decode(text)) << text;
    const auto message = message_for(text);
    EXPECT_NE(message.find(why), std::string::npos) << message;
    EXPECT_LT(message.size(), 1200U) << "a message stays readable, whatever was on disk";
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

TEST(ProcessIdentity, RefusesEveryTextCutShort) {
  for (const auto& text : well_formed)
    for (std::size_t size = 0; size < text.size(); ++size) EXPECT_TRUE(is_refused_or_exact(text.substr(0, size)));
}

TEST(ProcessIdentity, RefusesRandomDamageOrReadsItExactly) {
  std::mt19937 random{20261121};  // fixed: a failure can be repeated
  const auto below = [&](std::size_t limit) { return static_cast<std::size_t>(random()) % limit; };
  constexpr std::string_view likely{"0123456789abcdefABCDEF.%%%-_/\0\n\xff\x80", 32};
  std::size_t accepted = 0, refused = 0;
  for (int round = 0; round < 50'000; ++round) {
    auto text = well_formed[below(well_formed.size())];
    for (auto damage = 1 + below(3); damage > 0; --damage) {
      const auto at = below(text.size() + 1);
      const char c = likely[below(likely.size())];
      switch (below(4)) {
        case 0:
          text.insert(at, 1, c);
          break;
        case 1:
          text.erase(at, 1 + below(4));
          break;
        case 2:
          text.insert(at, text.substr(below(text.size() + 1), below(40)));
          break;
        default:
          if (at < text.size()) text[at] = c;
      }
    }
    ASSERT_TRUE(is_refused_or_exact(text)) << "round " << round;
    ++(ProcessIdentity::try_decode(text) ? accepted : refused);
  }
  EXPECT_GT(accepted, 1000U) << "damage must be small enough to reach the checks behind the first";
  EXPECT_GT(refused, 1000U);
}

TEST(ProcessIdentity, IsUnknownWhereAFieldIsMissing) {
  const auto self = ProcessIdentity::self().encode();
  for (int field = 0; field < 5; ++field) {
    if (field == 3) continue;  // there is no identity without a pid
    std::size_t begin = 0;
    for (int i = 0; i < field; ++i) begin = self.find('.', begin) + 1;
    auto text = self;
    text.erase(begin, self.find('.', begin) - begin);
    EXPECT_EQ(ProcessIdentity::decode(text).liveness(), Liveness::unknown) << text;
  }
}

TEST(ProcessIdentity, OfAnotherBootIsUnknownHere) {
  auto text = ProcessIdentity::self().encode();
  text.replace(0, 32, boot);
  const auto other = ProcessIdentity::decode(text);
  EXPECT_FALSE(other.same_boot());
  EXPECT_EQ(other.liveness(), Liveness::unknown);
  EXPECT_NE(to_string(other).find("under another kernel or before a restart"), std::string::npos) << to_string(other);
}

TEST(ProcessIdentity, ThatHasStillToStartHasNoKnownStart) {
  for (const char* const start : {"99999999999999999", "18446744073709551615"}) {
    auto text = ProcessIdentity::self().encode();
    std::size_t begin = 0;
    for (int field = 0; field < 4; ++field) begin = text.find('.', begin) + 1;
    text.replace(begin, text.find('.', begin) - begin, start);
    EXPECT_EQ(ProcessIdentity::decode(text).started(), std::chrono::system_clock::time_point{}) << text;
  }
}

TEST(ProcessIdentity, InWordsNamesProcessProgramAndStart) {
  const auto& self = ProcessIdentity::self();
  const auto words = to_string(self);
  EXPECT_TRUE(
      words.starts_with("process " + std::to_string(::getpid()) + " (" + std::string{self.program()} + ", started "))
      << words;
  EXPECT_TRUE(words.ends_with(")")) << "no host, as it is this one: " << words;
  EXPECT_EQ(to_string(std::optional{self}), words);
  EXPECT_EQ(to_string(std::optional<ProcessIdentity>{}), "an unknown process");
}

TEST(ProcessIdentity, InWordsNamesAnotherHostAndHidesControlCharacters) {
  EXPECT_EQ(to_string(ProcessIdentity::decode("...4211...x%1B%5B2J%0A.elsewhere.example%0A")),
            "process 4211 (x\\x1b[2J\\n) on elsewhere.example\\n");
  EXPECT_EQ(to_string(ProcessIdentity::decode("...4211....")), "process 4211");
}

TEST(ProcessIdentity, HasWordsForLiveness) {
  EXPECT_EQ(holdfast::to_string(Liveness::alive), "alive");
  EXPECT_EQ(holdfast::to_string(Liveness::dead), "dead");
  EXPECT_EQ(holdfast::to_string(Liveness::unknown), "unknown");
}

TEST(ProcessIdentityThreads, JudgeAndSignAtTheSameTime) {
  const auto init = ProcessIdentity::of(1);
  std::vector<std::thread> threads;
  std::array<const ProcessIdentity*, 8> seen{};
  for (auto& self : seen)
    threads.emplace_back([&self, &init] {
      self = &ProcessIdentity::self();
      for (int i = 0; i < 50; ++i) EXPECT_EQ(init.liveness(), Liveness::alive);
    });
  for (auto& thread : threads) thread.join();
  for (const auto* self : seen) EXPECT_EQ(self, &ProcessIdentity::self());
}
