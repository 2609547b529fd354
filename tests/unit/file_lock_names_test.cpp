// The names that FileLock gives to what it makes: read back exactly, never taken from a stranger, never too long, and no two
// locks in a directory that share one.
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>
#include <holdfast/testing/gtest.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_lock/lock_path.hpp"
#include "file_lock/names_on_disk.hpp"
#include "process_wide.hpp"

using namespace holdfast::detail;
using holdfast::Error;
using holdfast::ProcessIdentity;
using holdfast::harness::TempDir;

namespace {
const std::string number{"0123456789abcdef"};
const std::string identity =
    "0123456789abcdef0123456789abcdef.effffffc.effffffa.4211.8812.33e79b1b5e890a69.daq_writer.node7";
const std::string longest_identity =
    "0123456789abcdef0123456789abcdef.ffffffffffffffff.ffffffffffffffff.2147483647.18446744073709551615."
    "ffffffffffffffff."
    "%00%01%02%03%04%05%06%07%08%09%0A%0B%0C%0D%FF." +
    std::string(ProcessIdentity::max_host_encoded, 'h');
}  // namespace

TEST(FileLockNamesOnDisk, HexIsSixteenDigitsInTheOrderOfTheNumbers) {
  const auto text = [](std::uint64_t value) {
    const auto digits = hex(value);
    return std::string{digits.begin(), digits.end()};
  };
  EXPECT_EQ(text(0), "0000000000000000");
  EXPECT_EQ(text(0x0123456789abcdef), number);
  EXPECT_EQ(text(~std::uint64_t{0}), "ffffffffffffffff");
}

TEST(FileLockNamesOnDisk, ABufferJoinsAndNeverOverflows) {
  NameBuffer buffer;
  EXPECT_EQ(buffer.view(), "");
  buffer.join({"a", "", ".b"});
  EXPECT_EQ(buffer.view(), "a.b");
  EXPECT_STREQ(buffer.c_str(), "a.b");
  const std::string longest(255, 'x');
  buffer.join({longest, "/", longest});
  EXPECT_EQ(buffer.view(), longest + "/" + longest);
  buffer.join({longest, "/", longest, "too much"});
  EXPECT_EQ(buffer.view(), longest + "/" + longest);
  EXPECT_EQ(buffer.c_str()[buffer.view().size()], '\0');
}

TEST(FileLockNamesOnDisk, ANameOfOursIsReadBack) {
  for (const auto& whose : {identity, longest_identity, std::string{"...1...."}}) {
    const auto read = whose_name(".x.lock." + number + "." + whose + ".private", ".x.lock.", ".private");
    ASSERT_TRUE(read) << whose;
    EXPECT_EQ(read->encode(), whose);
  }
}

TEST(FileLockNamesOnDisk, ANameOfAStrangerIsNotRead) {
  const auto reads = [](const std::string& name) { return whose_name(name, "o.", "").has_value(); };
  ASSERT_TRUE(reads("o." + number + "." + identity));
  for (const auto& name :
       {std::string{}, std::string{"o."}, "o." + number, "o." + number + ".", "o." + identity, "o.." + identity,
        "o." + number.substr(1) + "." + identity, "o.0" + number + "." + identity, "o." + number + identity,
        "o.0123456789ABCDEF." + identity, "o.0123456789abcdeg." + identity, "o." + number + ".." + identity,
        "o." + number + "." + identity + "/", "o." + number + "." + identity + " ", "O." + number + "." + identity,
        "oo." + number + "." + identity, " o." + number + "." + identity, "o." + number + "." + identity.substr(1)})
    EXPECT_FALSE(reads(name)) << name;
  EXPECT_FALSE(whose_name(".x.lock." + number + "." + identity, ".x.lock.", ".private"));
  EXPECT_FALSE(whose_name(".private", ".x.lock.", ".private"));
  EXPECT_FALSE(whose_name(".x.lock.private", ".x.lock.", ".private"));
  EXPECT_FALSE(whose_name(".y.lock." + number + "." + identity + ".private", ".x.lock.", ".private"));
}

TEST(FileLockNamesOnDisk, AMarkIsFoundAmongAnything) {
  EXPECT_FALSE(find_mark({}));
  EXPECT_FALSE(find_mark({"pid", "o.1", "x." + number + "." + identity, "of." + number + "." + identity}));
  const auto owned = find_mark({"pid", "o.1", "o." + number + "." + identity});
  ASSERT_TRUE(owned);
  EXPECT_TRUE(owned->owned);
  EXPECT_EQ(owned->name, "o." + number + "." + identity);
  EXPECT_EQ(owned->identity.encode(), identity);
  const auto freed = find_mark({"f." + number + "." + identity, "pid"});
  ASSERT_TRUE(freed);
  EXPECT_FALSE(freed->owned);
}

TEST(FileLockNamesOnDisk, ATicketIsADecimalNumberThatCanBeCountedUp) {
  const auto number_of = [](const std::string& text) {
    const std::string name = "t." + text + "." + number + "." + identity;
    const auto ticket = parse_ticket(name);
    return ticket ? std::optional{ticket->number} : std::nullopt;
  };
  EXPECT_EQ(number_of("1"), 1U);
  EXPECT_EQ(number_of("42"), 42U);
  EXPECT_EQ(number_of(std::to_string(last_ticket_number)), last_ticket_number);
  for (const std::string& text :
       {std::string{}, std::string{"-1"}, std::string{"+1"}, std::string{" 1"}, std::string{"1 "}, std::string{"0x1"},
        std::string{"1e3"}, std::to_string(last_ticket_number + 1), std::string{"18446744073709551615"},
        std::string{"18446744073709551616"}, std::string(200, '9')})
    EXPECT_FALSE(number_of(text)) << text;
  for (const char* name : {"", "t", "t.", "t..", "x.1.y", "T.1.y"}) EXPECT_FALSE(parse_ticket(name)) << name;
}

TEST(FileLockNamesOnDisk, WhoWaitsIsReadFromTheRestOfATicket) {
  const std::string ours = "t.7." + number + "." + identity, not_ours = "t.7." + number, no_rest = "t.7";
  ASSERT_TRUE(who_waits(*parse_ticket(ours)));
  EXPECT_EQ(who_waits(*parse_ticket(ours))->encode(), identity);
  EXPECT_FALSE(who_waits(*parse_ticket(not_ours)));
  EXPECT_TRUE(!parse_ticket(no_rest) || !who_waits(*parse_ticket(no_rest)));
}

TEST(FileLockNamesOnDisk, TicketsAreOrderedByNumberAndThenByNameTheLatestFirst) {
  const std::vector<std::string> names{"t.2.b", "t.10.a", "junk", "t.2.a", "t.1.z", "t.x.a"};
  std::vector<std::string> order;
  for (const auto& ticket : tickets_in(names)) order.emplace_back(ticket.name);
  EXPECT_EQ(order, (std::vector<std::string>{"t.10.a", "t.2.b", "t.2.a", "t.1.z"}));
}

TEST(FileLockNamesOnDisk, NumbersInNamesAreNeverTheSame) {
  constexpr int threads = 4, each = 2000;
  std::array<std::vector<std::uint64_t>, threads> drawn;
  {
    std::vector<std::jthread> drawing;
    for (auto& numbers : drawn)
      drawing.emplace_back([&numbers] {
        for (int i = 0; i < each; ++i) numbers.push_back(next_name_number());
      });
  }
  std::set<std::uint64_t> all;
  for (const auto& numbers : drawn) all.insert(numbers.begin(), numbers.end());
  EXPECT_EQ(all.size(), std::size_t{threads} * each);
}

// ---- where a lock stands -------------------------------------------------------------------------------------------

namespace {
class FileLockLockPath : public testing::Test {
 protected:
  [[nodiscard]] std::shared_ptr<LockPath> resolve(const std::string& name) const {
    return LockPath::resolve(dir_ / name);
  }
  TempDir dir_;
};
}  // namespace

TEST_F(FileLockLockPath, IsOneObjectForAllSpellings) {
  std::filesystem::create_directory(dir_ / "sub");
  const auto path = resolve("x");
  EXPECT_EQ(path->lock(), std::string{"x.lock"});
  EXPECT_EQ(path->queue(), std::string{".x.lock.queue"});
  EXPECT_EQ(path->side_prefix(), ".x.lock.");
  EXPECT_EQ(path->shown(), (dir_ / "x.lock").string());
  for (const char* spelling : {"x/", "x//", "./x", "sub/../x", "x/."}) {
    if (std::string{spelling} == "x/.") std::filesystem::create_directory(dir_ / "x");
    EXPECT_EQ(resolve(spelling), path) << spelling;
  }
  EXPECT_NE(resolve("y"), path);
  EXPECT_NE(resolve("sub/x"), path);
}

TEST_F(FileLockLockPath, SideNamesFitForEveryNameAndEveryProcess) {
  for (std::size_t size = 1; size <= 250; ++size) {
    const auto path = resolve(std::string(size, 'n'));
    EXPECT_EQ(std::string{path->lock()}.size(), size + 5);
    NameBuffer longest;
    longest.join({path->side_prefix(), number, ".", longest_identity, private_suffix});
    EXPECT_LE(longest.view().size(), 255U) << size;
    EXPECT_LE(std::string{path->queue()}.size(), 255U) << size;
    EXPECT_EQ(path->side_prefix().front(), '.');
    EXPECT_EQ(path->side_prefix().back(), '.');
  }
  const auto ticket =
      std::string{ticket_prefix} + std::to_string(last_ticket_number) + "." + number + "." + longest_identity;
  EXPECT_LE(ticket.size(), 255U);
}

TEST_F(FileLockLockPath, LongNamesThatBeginAlikeHaveSideNamesOfTheirOwn) {
  std::set<std::string> prefixes;
  for (int i = 0; i < 200; ++i) {
    std::string name(200, 'n');
    name.replace(150, 3, std::to_string(100 + i));
    prefixes.emplace(resolve(name)->side_prefix());
  }
  EXPECT_EQ(prefixes.size(), 200U);
}

TEST_F(FileLockLockPath, NoLockBearsTheSideNameOfAnother) {
  const auto x = resolve("x");
  for (const auto& name :
       {std::string{x->queue()}, std::string{x->side_prefix()} + number + "." + identity + ".private",
        std::string{x->side_prefix()} + number + "." + identity + ".ticket"}) {
    if (name.size() > 250) continue;
    const auto other = resolve(name);
    EXPECT_NE(other, x);
    EXPECT_TRUE(std::string{other->lock()}.ends_with(".lock"));
    EXPECT_FALSE(std::string{other->queue()}.starts_with(x->side_prefix())) << other->queue();
    EXPECT_FALSE(whose_name(other->lock(), x->side_prefix(), private_suffix));
    EXPECT_FALSE(whose_name(other->lock(), x->side_prefix(), idle_ticket_suffix));
  }
}

TEST_F(FileLockLockPath, ALongNameIsNotCutInTheMiddleOfACharacter) {
  for (std::size_t lead = 0; lead < 4; ++lead) {
    std::string name(lead, 'n');
    while (name.size() + 3 <= 250) name += "\xE2\x82\xAC";
    const auto path = resolve(name);
    const auto prefix = path->side_prefix();
    const auto readable = prefix.substr(1, prefix.find('~') - 1);
    EXPECT_EQ((readable.size() - lead) % 3, 0U) << readable;
  }
}

TEST_F(FileLockLockPath, OnlyChannelsAndPlainFilesAreOurs) {
  const int here = ::open(dir_.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  ASSERT_GE(here, 0);
  ASSERT_EQ(::mkfifoat(here, "fifo", 0600), 0);
  ASSERT_EQ(::mknodat(here, "file", S_IFREG | 0600, 0), 0);
  ASSERT_EQ(::mkdirat(here, "directory", 0700), 0);
  ASSERT_EQ(::symlinkat("fifo", here, "link"), 0);
  EXPECT_TRUE(is_channel(here, "fifo"));
  EXPECT_TRUE(is_channel(here, "file"));
  EXPECT_FALSE(is_channel(here, "directory"));
  EXPECT_FALSE(is_channel(here, "link"));
  EXPECT_FALSE(is_channel(here, "nothing"));
  ::close(here);
}
