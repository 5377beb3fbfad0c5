// ipcm ps: lists the members of a bus.

#include <algorithm>

#include "commands/commands.h"
#include "os/clock.h"
#include "os/process.h"
#include "report.h"
#include "wire/json_text.h"
#include "wire/printable.h"

namespace ipcm::launcher {

namespace {

const char* word_of(transport::PeerFacts::State state) {
  switch (state) {
    case transport::PeerFacts::State::active:
      return "active";
    case transport::PeerFacts::State::suspended:
      return "suspended";
    default:
      return "starting";
  }
}

/// A peer as `ipcm ps` shows it. The age and the memory of a process in another pid namespace are unknown:
/// its number means another process here.
struct Line {
  std::string name, class_name, state;
  Pid pid = 0;
  bool elsewhere = false;
  std::optional<double> age;  // in seconds
  std::uint64_t memory = 0;   // in bytes; 0: unknown

  Line(const std::string& peer, const transport::PeerFacts& facts)
      : name(peer),
        class_name(facts.class_name),
        state(word_of(facts.state)),
        pid(facts.elsewhere ? facts.noted : facts.pid),
        elsewhere(facts.elsewhere) {
    if (facts.pid <= 0) return;
    if (const auto started = os::start_time(facts.pid))
      age = std::max(0.0, os::wall_clock_seconds() - *started);
    memory = os::resident_memory(facts.pid).value_or(0);
  }

  void save(JsonWriter& archive) const {
    archive(cereal::make_nvp("name", foreign_text(name)), cereal::make_nvp("class", foreign_text(class_name)),
            cereal::make_nvp("pid", pid), cereal::make_nvp("state", state));
    if (elsewhere) archive(cereal::make_nvp("other_namespace", true));
    if (age) archive(cereal::make_nvp("age_seconds", *age));
    if (memory > 0) archive(cereal::make_nvp("memory_bytes", memory));
  }

  [[nodiscard]] std::vector<std::string> columns() const {
    return {wire::printable_name(name),
            class_name.empty() ? "-" : wire::printable_name(class_name),
            pid > 0 ? std::to_string(pid) : "?",
            state,
            elsewhere ? "other namespace"
            : age     ? readable_age(*age)
                      : "?",
            elsewhere    ? "-"
            : memory > 0 ? readable_size(memory)
                         : "?"};
  }
};

}  // namespace

int ps(const Options& options) {
  const auto member = visit(options);
  std::vector<Line> lines;
  for (const std::string& name : member->transport().peers()) {
    const auto facts = member->transport().look(name);
    if (facts.state == transport::PeerFacts::State::absent ||
        facts.state == transport::PeerFacts::State::dead)
      continue;
    lines.emplace_back(name, facts);
  }
  if (options.json) {
    print_json(json_of(lines));
    return number(Status::done);
  }
  std::vector<std::vector<std::string>> rows = {{"NAME", "CLASS", "PID", "STATE", "AGE", "MEMORY"}};
  for (const Line& line : lines) rows.push_back(line.columns());
  print_table(rows);
  return number(Status::done);
}

}  // namespace ipcm::launcher
