#include "commands/dead.h"

#include <chrono>

#include "ipcm/obituary.h"
#include "report.h"
#include "wire/printable.h"

namespace ipcm::launcher {
namespace {

double seconds_of(std::chrono::system_clock::duration span) {
  return std::chrono::duration<double>(span).count();
}

/// A dead service, among the members of the bus.
struct DeadLine {
  const Obituary& one;

  explicit DeadLine(const Obituary& of) : one(of) {}

  void save(JsonWriter& archive) const {
    archive(cereal::make_nvp("name", foreign_text(one.name)),
            cereal::make_nvp("class", foreign_text(one.class_name)),
            cereal::make_nvp("pid", one.pid.value_or(0)), cereal::make_nvp("state", std::string("dead")));
    if (one.started) archive(cereal::make_nvp("started", seconds_of(one.started->time_since_epoch())));
    archive(cereal::make_nvp("ended", seconds_of(one.ended.time_since_epoch())),
            cereal::make_nvp("how", one.how()));
    if (!one.status) {
      archive(cereal::make_nvp("unknown", foreign_text(one.why_unknown)));
    } else if (one.status->how == ExitStatus::How::exited) {
      archive(cereal::make_nvp("status", one.status->value));
    } else {
      archive(cereal::make_nvp("signal", one.status->value),
              cereal::make_nvp("core_dumped", one.status->core_dumped));
    }
    if (!one.last_words.empty()) archive(cereal::make_nvp("last_words", foreign_text(one.last_words)));
    if (!one.next.empty()) archive(cereal::make_nvp("next", foreign_text(one.next)));
  }

  [[nodiscard]] std::vector<std::string> columns() const {
    constexpr std::size_t kLongestLine = 200;
    const auto since = seconds_of(std::chrono::system_clock::now() - one.ended);
    const std::string words = one.last_line();
    return {wire::printable_name(one.name),
            one.class_name.empty() ? "-" : wire::printable_name(one.class_name),
            one.pid ? std::to_string(*one.pid) : "?",
            readable_age(since) + " ago",
            one.how(),
            one.next.empty() ? "-" : wire::printable(one.next, kLongestLine),
            words.empty() ? "-" : wire::printable(words, kLongestLine)};
  }
};

}  // namespace

std::string with_the_dead(const Options& options, std::string living) {
  const auto all = obituaries(options.bus_info());
  const std::vector<DeadLine> lines(all.begin(), all.end());
  if (lines.empty()) return living;
  std::string dead = json_of(lines);
  if (living == "[]") return dead;
  living.pop_back();
  return living + "," + dead.substr(1);
}

void print_the_dead(const Options& options) {
  const auto all = obituaries(options.bus_info());
  if (all.empty()) return;
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "CLASS", "PID", "DIED", "HOW", "NEXT", "LAST WORDS"}};
  for (const Obituary& one : all) rows.push_back(DeadLine(one).columns());
  print_text("\n");
  print_table(rows);
}

}  // namespace ipcm::launcher
