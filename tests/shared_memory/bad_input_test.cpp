// What cannot be a segment, or is none: bad names, sizes and options, other things under a segment's name, segments of other
// versions, damaged ones, other users'. Each is a clear error at once, and nothing is changed.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstring>
#include <limits>

#include "segments.hpp"
#include "shared_memory/layout.hpp"

using namespace segments;

namespace {
using holdfast::detail::SegmentHeader;

class SegmentInput : public Segments {};

/// Every way to come to a segment that is there or not.
struct Way {
  const char* name;
  std::function<void(const std::string&)> call;
};
const std::vector<Way>& ways_to_attach() {
  static const std::vector<Way> ways{
      {"attach", [](const std::string& name) { static_cast<void>(SharedMemory::attach(name, 30s)); }},
      {"attach_read_only",
       [](const std::string& name) { static_cast<void>(SharedMemory::attach_read_only(name, 30s)); }},
      {"create_or_attach",
       [](const std::string& name) { static_cast<void>(SharedMemory::create_or_attach(name, 4096, {}, 30s)); }},
  };
  return ways;
}
const std::vector<Way>& all_ways() {
  static const std::vector<Way> ways = [] {
    auto result = ways_to_attach();
    result.push_back({"create", [](const std::string& name) { static_cast<void>(SharedMemory::create(name, 4096)); }});
    result.push_back({"remove", [](const std::string& name) { SharedMemory::remove(name); }});
    return result;
  }();
  return ways;
}
}  // namespace

// ---- arguments ---------------------------------------------------------------------------------------------------------

TEST_F(SegmentInput, NamesThatNoFileCanHaveAreRefused) {
  const std::vector<std::pair<std::string, const char*>> names{
      {"", "empty"},
      {"a/b", "a / in it"},
      {"/" + name_, "a / in it"},
      {name_ + "/", "a / in it"},
      {"../" + name_, "a / in it"},
      {name_ + '\0', "NUL"},
      {std::string("a\0b", 3), "NUL"},
      {std::string(1, '\0'), "NUL"},
      {std::string(247, 'n'), "long"},
      {std::string(100'000, 'n'), "long"},
  };
  for (const auto& [name, word] : names)
    for (const auto& way : all_ways()) {
      SCOPED_TRACE(std::string{way.name} + " of a name of " + std::to_string(name.size()));
      try {
        way.call(name);
        ADD_FAILURE() << "it was not refused";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(),
                  word == std::string_view{"long"} ? std::errc::filename_too_long : std::errc::invalid_argument)
            << error.what();
        EXPECT_NE(std::string_view{error.what()}.find(word), std::string_view::npos)
            << "'" << word << "' is missing in: " << error.what();
        EXPECT_NE(std::string_view{error.what()}.find("name"), std::string_view::npos) << error.what();
        EXPECT_EQ(std::string_view{error.what()}.find('\0'), std::string_view::npos);
      }
    }
  const std::string longest = name_ + std::string(246 - name_.size(), 'n');
  EXPECT_EQ(SharedMemory::create(longest, 10).size(), 10U) << "255 bytes with the prefix";
}

TEST_F(SegmentInput, SizesThatCannotBeAreRefused) {
  constexpr auto huge = std::numeric_limits<std::size_t>::max();
  for (const std::size_t size :
       {std::size_t{0}, huge, huge - 4095, huge - 36864, huge / 2, huge / 2 + 1, (huge >> 1U) - 36864}) {
    SCOPED_TRACE(size);
    expect_error([&] { static_cast<void>(SharedMemory::create(name_, size)); }, std::errc::invalid_argument,
                 path().string(), {"bytes"});
    expect_error([&] { static_cast<void>(SharedMemory::create_or_attach(name_, size)); }, std::errc::invalid_argument,
                 path().string(), {"bytes"});
    try {
      static_cast<void>(SharedMemory::create_anonymous(name_, size));
      ADD_FAILURE() << "it was not refused";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), std::errc::invalid_argument) << error.what();
    }
    EXPECT_FALSE(exists());
  }
}

TEST_F(SegmentInput, AlignmentsThatCannotBeAreRefused) {
  for (const std::size_t alignment :
       {std::size_t{0}, std::size_t{1}, std::size_t{64}, std::size_t{2048}, std::size_t{4095}, std::size_t{12288},
        std::size_t{4} << 20U, std::numeric_limits<std::size_t>::max()}) {
    SCOPED_TRACE(alignment);
    const SegmentOptions options{.alignment = alignment};
    const std::vector<std::string> words{"alignment", "power of two"};
    expect_error([&] { static_cast<void>(SharedMemory::create(name_, 4096, options)); }, std::errc::invalid_argument,
                 path().string(), words);
    expect_error([&] { static_cast<void>(SharedMemory::create_or_attach(name_, 4096, options)); },
                 std::errc::invalid_argument, path().string(), words);
    EXPECT_THROW(static_cast<void>(SharedMemory::create_anonymous(name_, 4096, options)), Error);
    EXPECT_FALSE(exists());
  }
}

TEST_F(SegmentInput, DescriptorsThatAreNoSegmentsAreRefused) {
  const TempDir dir;
  write_file(dir / "file", std::string(100'000, 'x'));
  write_file(dir / "empty", "");
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  std::vector<int> descriptors{pipe[0], pipe[1]};
  for (const auto& path : {dir / "file", dir / "empty", dir.path(), fs::path{"/dev/null"}, fs::path{"/dev/zero"}})
    descriptors.push_back(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  descriptors.push_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  for (const int descriptor : descriptors) {
    SCOPED_TRACE(fs::read_symlink("/proc/self/fd/" + std::to_string(descriptor)));
    try {
      static_cast<void>(SharedMemory::attach(descriptor));
      ADD_FAILURE() << "it was not refused";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), errc::foreign) << error.what();
    }
    EXPECT_GE(::fcntl(descriptor, F_GETFD), 0) << "it stays the caller's";
    ::close(descriptor);
  }
  for (const int descriptor : {-1, descriptors.front(), std::numeric_limits<int>::max()}) try {
      static_cast<void>(SharedMemory::attach(descriptor));
      ADD_FAILURE() << "it was not refused";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), std::errc::bad_file_descriptor) << error.what();
    }
}

// ---- something else under a segment's name -------------------------------------------------------------------------------

namespace {
/// Makes something at the path.
struct Thing {
  const char* name;
  std::function<void(const fs::path&)> make;
};
void PrintTo(const Thing& thing, std::ostream* out) { *out << thing.name; }

std::string header_text(const std::function<void(SegmentHeader&)>& change) {
  const std::string name = "test_template_" + std::to_string(::getpid()) + "_" + std::to_string(std::random_device{}());
  std::string text;
  {
    const auto memory = SharedMemory::create(name, 8192);
    text = content_of(folder / ("holdfast." + name));
  }
  alignas(SegmentHeader) std::array<char, sizeof(SegmentHeader)> header;
  std::memcpy(header.data(), text.data(), header.size());
  change(*reinterpret_cast<SegmentHeader*>(header.data()));
  std::memcpy(text.data(), header.data(), header.size());
  return text;
}

const std::vector<Thing> things{
    {"short_file", [](const fs::path& path) { write_file(path, "x"); }},
    {"text", [](const fs::path& path) { write_file(path, "another program's data"); }},
    {"large_file", [](const fs::path& path) { write_file(path, std::string(100'000, 'x')); }},
    {"page_of_zeros", [](const fs::path& path) { write_file(path, std::string(4096, '\0')); }},
    {"pages_of_zeros", [](const fs::path& path) { write_file(path, std::string(100'000, '\0')); }},
    {"directory", [](const fs::path& path) { fs::create_directory(path); }},
    {"directory_with_a_file",
     [](const fs::path& path) {
       fs::create_directory(path);
       write_file(path / "precious", "data");
     }},
    {"fifo", [](const fs::path& path) { ASSERT_EQ(::mkfifo(path.c_str(), 0666), 0); }},
    {"link_to_nowhere", [](const fs::path& path) { fs::create_symlink("/nowhere/at/all", path); }},
    {"link_to_a_new_name", [](const fs::path& path) { fs::create_symlink(path.string() + ".target", path); }},
    {"link_to_itself", [](const fs::path& path) { fs::create_symlink(path, path); }},
    {"socket",
     [](const fs::path& path) {
       sockaddr_un address{};
       address.sun_family = AF_UNIX;
       const auto text = path.string();
       std::copy(text.begin(), text.end(), std::begin(address.sun_path));
       const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
       ASSERT_EQ(::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
       ::close(socket);
     }},
};

class SegmentNameTaken : public SegmentInput, public testing::WithParamInterface<Thing> {
 protected:
  void SetUp() override {
    leftovers_allowed_ = true;
    GetParam().make(path());
  }
};
INSTANTIATE_TEST_SUITE_P(, SegmentNameTaken, testing::ValuesIn(things),
                         [](const testing::TestParamInfo<Thing>& thing) { return std::string{thing.param.name}; });
}  // namespace

TEST_P(SegmentNameTaken, BySomethingElseIsForeignAtOnceAndLeftAlone) {
  const auto before = description_of(path());
  const auto began = std::chrono::steady_clock::now();
  for (const auto& way : all_ways()) {
    SCOPED_TRACE(way.name);
    expect_error([&] { way.call(name_); }, errc::foreign, path().string(), {"not", "holdfast"});
    EXPECT_EQ(description_of(path()), before);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - began, 20s) << "nobody waited for it to become a segment";
  const auto info = listed();
  EXPECT_TRUE(!info || info->state == SegmentState::foreign);
  EXPECT_TRUE(info) << "a tool tells of what is in the way";
  EXPECT_EQ(description_of(path()), before);
  EXPECT_FALSE(fs::exists(path().string() + ".target")) << "a link must not be followed";
}

TEST_F(SegmentInput, ALinkToASegmentIsNotFollowed) {
  const auto target = SharedMemory::create(second_, 4096, {.lifetime = Lifetime::until_removed});
  fs::create_symlink(path_of(second_), path());
  const auto before = description_of(path_of(second_));
  for (const auto& way : all_ways()) {
    SCOPED_TRACE(way.name);
    expect_error([&] { way.call(name_); }, errc::foreign, path().string());
  }
  EXPECT_EQ(description_of(path_of(second_)), before);
  fs::remove(path());
  SharedMemory::remove(name_);
  leftovers_allowed_ = true;
}

// ---- holdfast's own, but not usable --------------------------------------------------------------------------------------

TEST_F(SegmentInput, WordsOfAnotherSizeAreToldAtOnceAndLeftAlone) {
  write_file(path(), header_text([](SegmentHeader& header) { header.word_size = sizeof(void*) == 8 ? 32 : 64; }));
  const auto before = description_of(path());
  for (const auto& way : all_ways()) {
    SCOPED_TRACE(way.name);
    expect_error([&] { way.call(name_); }, errc::layout_mismatch, path().string(), {"32", "64", "bits"});
  }
  EXPECT_EQ(description_of(path()), before);
  fs::remove(path());
}

TEST_F(SegmentInput, AnotherVersionIsToldAtOnceAndLeftAlone) {
  for (const std::uint32_t version : {0U, holdfast::detail::segment_version + 1, 0xffffffffU}) {
    SCOPED_TRACE(version);
    write_file(path(), header_text([&](SegmentHeader& header) { header.version = version; }));
    const auto before = description_of(path());
    for (const auto& way : all_ways()) {
      SCOPED_TRACE(way.name);
      expect_error([&] { way.call(name_); }, errc::version_mismatch, path().string(),
                   {"version", std::to_string(version), std::to_string(holdfast::detail::segment_version)});
    }
    EXPECT_EQ(state(), SegmentState::other_version);
    EXPECT_EQ(description_of(path()), before);
    fs::remove(path());
  }
}

TEST_F(SegmentInput, AHeaderThatContradictsItselfIsCorruptAndNotFollowed) {
  constexpr auto huge = std::numeric_limits<std::uint64_t>::max();
  std::vector<std::pair<const char*, std::function<void(SegmentHeader&)>>> changes;
  for (const std::uint64_t wrong : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{4096}, std::uint64_t{1} << 40U,
                                    huge, huge - 36864, huge / 2}) {
    changes.emplace_back("file_size", [wrong](SegmentHeader& header) { header.file_size = wrong; });
    changes.emplace_back(
        "size", [wrong](SegmentHeader& header) { header.size = wrong <= 4096 && wrong > 0 ? 1U << 30U : wrong; });
    changes.emplace_back("data_offset", [wrong](SegmentHeader& header) { header.data_offset = wrong; });
    changes.emplace_back("alignment",
                         [wrong](SegmentHeader& header) { header.alignment = wrong == 4096 ? 12288 : wrong; });
  }
  for (std::size_t i = 0; i < changes.size(); ++i) {
    SCOPED_TRACE(std::string{changes[i].first} + ", change " + std::to_string(i));
    write_file(path(), header_text(changes[i].second));
    const auto before = description_of(path());
    for (const auto& way : all_ways()) {
      SCOPED_TRACE(way.name);
      expect_error([&] { way.call(name_); }, errc::corrupt, path().string());
    }
    EXPECT_EQ(description_of(path()), before);
    EXPECT_EQ(state(), SegmentState::foreign) << "made by holdfast, but damaged";
    fs::remove(path());
  }
}

TEST_F(SegmentInput, ASegmentThatWasCutShortIsCorrupt) {
  const auto sound = header_text([](SegmentHeader&) {});
  for (const std::size_t size : {sound.size() - 1, sound.size() - 4096, std::size_t{36864}, std::size_t{36863},
                                 std::size_t{4096}, sizeof(SegmentHeader)}) {
    SCOPED_TRACE(size);
    write_file(path(), std::string_view{sound}.substr(0, size));
    const auto before = description_of(path());
    for (const auto& way : all_ways()) {
      SCOPED_TRACE(way.name);
      expect_error([&] { way.call(name_); }, errc::corrupt, path().string(), {"size"});
    }
    EXPECT_EQ(description_of(path()), before);
    fs::remove(path());
  }
}

TEST_F(SegmentInput, AnEmptyFileIsWaitedForUntilTheDeadline) {
  write_file(path(), "");
  EXPECT_EQ(state(), SegmentState::incomplete);
  for (const auto patience : {0ms, 50ms}) {
    const auto began = std::chrono::steady_clock::now();
    expect_error([&] { static_cast<void>(SharedMemory::attach(name_, patience)); }, errc::incomplete, path().string());
    EXPECT_GE(std::chrono::steady_clock::now() - began, patience);
    expect_error([&] { static_cast<void>(SharedMemory::attach_read_only(name_, patience)); }, errc::incomplete,
                 path().string());
  }
  EXPECT_EQ(state(), SegmentState::incomplete);

  auto waiter = start("wait_then_use", {"attach", name_});
  ASSERT_TRUE(wait_until([&] { return state_of(waiter.pid()) == 'S'; })) << waiter.report();
  auto memory = std::optional{SharedMemory::create(name_, 5000)};
  EXPECT_TRUE(wait_for_output(waiter, "\nhas 5000 bytes, 0 of them not zero\n")) << waiter.report();
  finish(waiter);
  memory.reset();

  write_file(path(), "");
  EXPECT_EQ(SharedMemory::create_or_attach(name_, 5000).size(), 5000U);
  write_file(path(), "");
  EXPECT_TRUE(SharedMemory::remove(name_));
  EXPECT_FALSE(exists());
}

// ---- other users -------------------------------------------------------------------------------------------------------

namespace {
const std::string anna = "user=60001:60001", bert = "user=60002:60002";
const std::string anna_in_group = "user=60001:60010", bert_in_group = "user=60002:60010";

class SegmentOfAnotherUser : public Segments {
 protected:
  void SetUp() override { SKIP_WHERE_FORBIDDEN({anna}); }
};
}  // namespace

TEST_F(SegmentOfAnotherUser, IsRefusedAtOnceAndItsOwnerIsNamed) {
  auto owner = start({anna}, "use", {"create", name_, 4096, "until_removed"});
  const auto before = description_of(path());
  for (const char* how : {"create", "create_or_attach", "attach", "attach_read_only", "remove"}) {
    SCOPED_TRACE(how);
    expect_error_line(attempt({bert}, {how, name_, 4096}), std::errc::permission_denied,
                      {path().string(), "user id 60001"});
  }
  EXPECT_EQ(attempt({bert}, {"list", name_}).substr(0, 27), "not readable for this user:");
  EXPECT_EQ(attempt({anna}, {"list", name_}).substr(0, 7), "in use:");
  owner.kill();
  for (const char* how : {"create", "attach", "remove"})
    expect_error_line(attempt({bert}, {how, name_, 4096}), std::errc::permission_denied, {"user id 60001"});
  EXPECT_EQ(description_of(path()), before) << "also what the dead left is not for others to judge";
  EXPECT_EQ(attempt({anna}, {"remove", name_}), "removed");
}

TEST_F(SegmentOfAnotherUser, IsSharedAsTheAccessOptionSays) {
  const struct {
    const char* option;
    std::string owner, member, stranger;
  } cases[] = {{"group", anna_in_group, bert_in_group, bert}, {"everyone", anna, bert, ""}};
  for (const auto& each : cases) {
    SCOPED_TRACE(each.option);
    auto owner = start({"umask=077", each.owner}, "use_and_write", {5, "create", name_, 4096, each.option});
    EXPECT_EQ(attempt({"umask=077", each.member}, {"attach", name_}), "has 4096 bytes, 1 of them not zero");
    EXPECT_EQ(attempt({each.member}, {"attach_read_only", name_}), "has 4096 bytes, 1 of them not zero");
    EXPECT_EQ(attempt({each.member}, {"create_or_attach", name_, 4096, each.option}),
              "has 4096 bytes, 1 of them not zero");
    if (!each.stranger.empty())
      expect_error_line(attempt({each.stranger}, {"attach", name_}), std::errc::permission_denied, {"user id 60001"});
    auto member = start({each.member}, "use", {"attach", name_});
    expect_error_line(attempt({each.owner}, {"create", name_, 4096}), std::errc::file_exists);
    finish(owner);
    expect_error_line(attempt({each.owner}, {"remove", name_}), errc::in_use, {std::to_string(member.pid())});
    EXPECT_EQ(attempt({each.owner}, {"attach", name_}), "has 4096 bytes, 1 of them not zero");
    finish(member);
    // In a directory in which one may remove one's own only, the last one to detach may not be the one who may.
    EXPECT_TRUE(!exists() || attempt({each.owner}, {"remove", name_}) == "removed");
    EXPECT_FALSE(exists());
  }
}
