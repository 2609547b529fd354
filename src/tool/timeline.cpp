#include "tool/timeline.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <holdfast/error.hpp>

#include "text.hpp"

namespace holdfast::tool {
namespace {
using harness::Entry;
using harness::Event;

// All lengths in pixels.
constexpr double width = 1200, left = 120, right = 40, plot_width = width - left - right;
constexpr double row_pitch = 22, bar_height = 14;
constexpr double header_height = 104, heading_height = 40, axis_height = 46;

struct Span {
  double from, to;  // ms
};

/// What one contender did.
struct Row {
  std::uint32_t who = 0;
  std::vector<Span> waits{}, holds{};
  std::vector<double> recoveries{};
  std::optional<double> killed{};
};

/// Times in ms; what lies before `from` is cut off.
struct Panel {
  std::string heading;
  std::vector<Row> rows{};
  double from = 0, to = 0;
};

std::string xml(std::string_view text) {
  std::string result;
  for (const char c : text::escaped(text)) {  // no control characters after this: XML 1.0 has no word for them
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

/// The entries as rows. Whoever waits or holds at the end of the journal does so to the end of the panel.
Panel panel_of(std::string heading, const std::vector<Entry>& entries) {
  Panel panel{std::move(heading)};
  if (entries.empty()) return panel;
  const auto by_time = [](const Entry& a, const Entry& b) { return a.nanoseconds < b.nanoseconds; };
  const auto [first, last] = std::minmax_element(entries.begin(), entries.end(), by_time);
  const auto origin = first->nanoseconds;
  panel.to = static_cast<double>(last->nanoseconds - origin) / 1e6;

  std::map<std::uint32_t, Row> rows;
  std::map<std::uint32_t, double> waiting, holding;
  const auto close = [&rows](std::map<std::uint32_t, double>& open, std::uint32_t who, double now, auto spans) {
    if (const auto begun = open.find(who); begun != open.end()) {
      (rows[who].*spans).push_back({begun->second, now});
      open.erase(begun);
    }
  };
  for (const auto& entry : entries) {
    const double now = static_cast<double>(entry.nanoseconds - origin) / 1e6;
    Row& row = rows[entry.who];
    switch (entry.event) {
      case Event::arrived:
        waiting[entry.who] = now;
        break;
      case Event::recovered:
        row.recoveries.push_back(now);
        [[fallthrough]];
      case Event::entered:
        close(waiting, entry.who, now, &Row::waits);
        holding[entry.who] = now;
        break;
      case Event::gave_up:
        close(waiting, entry.who, now, &Row::waits);
        break;
      case Event::doomed:
        row.killed = now;
        close(waiting, entry.who, now, &Row::waits);
        [[fallthrough]];
      case Event::left:
        close(holding, entry.who, now, &Row::holds);
        break;
      default:  // of messages: not in a timeline of locks
        break;
    }
  }
  for (const auto& [who, begun] : waiting) rows[who].waits.push_back({begun, panel.to});
  for (const auto& [who, begun] : holding) rows[who].holds.push_back({begun, panel.to});
  for (auto& [who, row] : rows) {
    row.who = who;
    panel.rows.push_back(std::move(row));
  }
  return panel;
}

Panel contention_panel(const Results& results, std::string heading) {
  return panel_of(std::move(heading), results.contention.entries);
}

/// Rows in order of arrival: if the lock keeps that order, it is a staircase.
Panel race_panel(const Results& results, std::string heading) {
  auto panel = panel_of(std::move(heading), results.race.entries);
  const auto arrival = [](const Row& row) { return row.waits.empty() ? 0 : row.waits.front().from; };
  std::sort(panel.rows.begin(), panel.rows.end(), [&](const Row& a, const Row& b) {
    return std::pair{arrival(a), a.who} < std::pair{arrival(b), b.who};
  });
  return panel;
}

/// From a little before the first kill: what the others did until then is only to wait.
Panel kill_panel(const Results& results, std::string heading) {
  auto panel = panel_of(std::move(heading), results.kill.entries);
  auto first_kill = panel.to;
  for (const auto& row : panel.rows) first_kill = std::min(first_kill, row.killed.value_or(panel.to));
  panel.from = std::max(0.0, first_kill - std::max(0.5, (panel.to - first_kill) / 3));
  return panel;
}

/// Times at which two held the lock: there should be none.
std::vector<Span> overlaps(const Panel& panel) {
  std::vector<std::pair<double, int>> edges;
  for (const auto& row : panel.rows)
    for (const auto& [from, to] : row.holds) {
      edges.emplace_back(from, 1);
      edges.emplace_back(to, -1);
    }
  std::sort(edges.begin(), edges.end());  // at one instant ends come first
  std::vector<Span> result;
  int inside = 0;
  for (const auto& [at, change] : edges) {
    if (inside == 1 && change == 1) result.push_back({at, at});
    if (inside == 2 && change == -1) result.back().to = at;
    inside += change;
  }
  return result;
}

/// 1, 2 or 5 times a power of ten, so that there are at most twelve ticks.
double tick_step(double length) {
  const double least = std::max(length, 1e-6) / 12;
  const double power = std::pow(10, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= least) return factor * power;
  return 10 * power;
}

class Drawing {
 public:
  template <class... Arguments>
  void add(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Arguments>(arguments)...);
  }

  void draw(const Panel& panel, double top) {
    from_ = panel.from;
    scale_ = panel.to > panel.from ? plot_width / (panel.to - panel.from) : 0;
    const double first_row = top + heading_height;
    const double bottom = first_row + row_pitch * static_cast<double>(panel.rows.size());
    add("<g class=\"panel\">\n<text class=\"heading\" x=\"{}\" y=\"{}\">{}</text>\n", left, top + 26,
        xml(panel.heading));
    draw_axis(panel.to - panel.from, first_row, bottom);
    double y = first_row;
    for (const auto& row : panel.rows) {
      draw_row(row, y);
      y += row_pitch;
    }
    if (const auto bad = overlaps(panel); !bad.empty()) {
      add("<path class=\"overlap\" d=\"");
      bars(bad, first_row, bottom - first_row);
      add("\"/>\n");
    }
    add("</g>\n");
  }

  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  [[nodiscard]] double x_of(double time) const { return left + std::max(0.0, time - from_) * scale_; }

  void draw_axis(double length, double top, double bottom) {
    const double step = tick_step(length);
    for (int i = 0; i * step <= length * (1 + 1e-9); ++i) {
      add("<path class=\"grid\" d=\"M{0:.2f} {1}V{2}\"/><text class=\"tick\" x=\"{0:.2f}\" y=\"{3}\">{4:g}</text>\n",
          left + i * step * scale_, top, bottom + 4, bottom + 19, i * step);
    }
    add("<text class=\"tick\" x=\"{}\" y=\"{}\">ms</text>\n", width - right + 22, bottom + 19);
  }

  void draw_row(const Row& row, double top) {
    double waited = 0, longest = 0;
    for (const auto& [from, to] : row.waits) {
      waited += to - from;
      longest = std::max(longest, to - from);
    }
    add("<g class=\"row\"><title>process {}: had the lock {} times, waited {:.3f} ms, at most {:.3f} ms</title>",
        row.who, row.holds.size(), waited, longest);
    add("<text class=\"name\" x=\"{}\" y=\"{}\">process {}</text>", left - 12, top + row_pitch / 2 + 4, row.who);
    const double bar = top + (row_pitch - bar_height) / 2;
    add("<path class=\"waiting\" d=\"");
    bars(row.waits, bar + 3, bar_height - 6);
    add("\"/><path class=\"holding\" d=\"");
    bars(row.holds, bar, bar_height);
    add("\"/>");
    const double middle = top + row_pitch / 2;
    for (const double at : row.recoveries)
      add("<path class=\"recovered\" d=\"M{:.2f} {:g}l8 -8v16z\"/>", x_of(at) - 8, middle);
    if (row.killed)
      add("<path class=\"killed\" d=\"M{:.2f} {:g}l10 10m0 -10l-10 10\"/>", x_of(*row.killed) - 5, middle - 5);
    add("</g>\n");
  }

  /// As the data of one path. What is thinner than can be seen is widened, what is nearer to the next one is joined to it.
  void bars(const std::vector<Span>& spans, double y, double height) {
    constexpr double thinnest = 0.6, nearest = 0.05;
    for (std::size_t i = 0; i < spans.size();) {
      const double from = x_of(spans[i].from);
      double to = x_of(spans[i].to);
      for (++i; i < spans.size() && x_of(spans[i].from) - to < nearest; ++i) to = std::max(to, x_of(spans[i].to));
      if (to > left) add("M{:.2f} {:g}h{:.2f}v{:g}H{:.2f}z", from, y, std::max(to - from, thinnest), height, from);
    }
  }

  std::string text_;
  double from_ = 0, scale_ = 0;
};

constexpr std::string_view style = R"(<style>
text { font-family: "DejaVu Sans", "Segoe UI", Helvetica, Arial, sans-serif; font-size: 12px; fill: #24292f }
.title { font-size: 20px; font-weight: bold }
.subtitle { font-size: 13px; fill: #57606a }
.heading { font-size: 14px; font-weight: bold }
.name { text-anchor: end }
.tick { text-anchor: middle; font-size: 11px; fill: #57606a }
.grid { stroke: #d8dee4; stroke-width: 1 }
.waiting { fill: #b6d3f0 }
.holding { fill: #0b4f9c }
.overlap { fill: #d1242f; fill-opacity: 0.35 }
.recovered { fill: #1a7f37 }
.killed { stroke: #d1242f; stroke-width: 2.5; stroke-linecap: round; fill: none }
</style>
)";

void add_legend(Drawing& drawing, bool with_overlap) {
  constexpr double y = 78;
  double x = left;
  const auto item = [&](std::string_view mark, std::string_view meaning, double step) {
    drawing.add("<g transform=\"translate({} {})\">{}<text x=\"24\" y=\"10\">{}</text></g>\n", x, y, mark, meaning);
    x += step;
  };
  item(R"(<path class="waiting" d="M0 2h16v8h-16z"/>)", "waits", 90);
  item(R"(<path class="holding" d="M0 -1h16v14h-16z"/>)", "has the lock", 135);
  item(R"(<path class="killed" d="M3 1l10 10m0 -10l-10 10"/>)", "killed", 90);
  item(R"(<path class="recovered" d="M5 6l8 -8v16z"/>)", "has the lock of one who was killed", 275);
  if (with_overlap) item(R"(<path class="overlap" d="M0 -1h16v14h-16z"/>)", "two have it at once", 0);
}
}  // namespace

std::string draw_timeline(const Results& results, const Settings& settings) {
  const auto processes =
      settings.processes == 1 ? std::string{"1 process"} : fmt::format("{} processes", settings.processes);
  const Panel panels[] = {
      contention_panel(results, fmt::format("Contention: {}, {} increments each", processes, settings.increments)),
      race_panel(results, fmt::format("Race: {} at once, in order of arrival", processes)),
      kill_panel(results, "Kill: 0 owns and is killed while 1 sleeps; then 1 is killed, and 2 comes")};
  double height = header_height;
  for (const auto& panel : panels)
    height += heading_height + row_pitch * static_cast<double>(panel.rows.size()) + axis_height;
  const bool with_overlap =
      std::any_of(std::begin(panels), std::end(panels), [](const Panel& panel) { return !overlaps(panel).empty(); });

  Drawing drawing;
  drawing.add(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" "
      "height=\"{1}\" viewBox=\"0 0 {0} {1}\">\n{2}<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n",
      width, height, style);
  drawing.add("<text class=\"title\" x=\"{}\" y=\"34\">Who had the lock, and who waited</text>\n", left);
  drawing.add("<text class=\"subtitle\" x=\"{}\" y=\"56\">holdfast validate on {}: locking {}</text>\n", left,
              xml(results.surroundings.file_system), results.holds() ? "holds" : "DOES NOT HOLD");
  add_legend(drawing, with_overlap);
  double top = header_height;
  for (const auto& panel : panels) {
    drawing.draw(panel, top);
    top += heading_height + row_pitch * static_cast<double>(panel.rows.size()) + axis_height;
  }
  return drawing.take() + "</svg>\n";
}

TimelineFile::TimelineFile(std::filesystem::path file) : file_{std::move(file)} {
  std::error_code ignored;
  is_new_ = !std::filesystem::exists(std::filesystem::symlink_status(file_, ignored));
  errno = 0;
  if (!std::ofstream{file_, std::ios::app})
    throw Error{{errno != 0 ? errno : EIO, std::generic_category()}, "write the timeline", file_.native()};
}

TimelineFile::~TimelineFile() {
  std::error_code ignored;
  if (is_new_ && !written_) std::filesystem::remove(file_, ignored);
}

void TimelineFile::write(const std::string& document) {
  errno = 0;
  std::ofstream out{file_, std::ios::trunc};
  out << document << std::flush;
  if (!out) throw Error{{errno != 0 ? errno : EIO, std::generic_category()}, "write the timeline", file_.native()};
  written_ = true;
}
}  // namespace holdfast::tool
