// ipcm ps: who is on a bus.

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

}  // namespace

int ps(const Options& options) {
  const auto member = visit(options);
  std::vector<std::vector<std::string>> rows = {{"NAME", "CLASS", "PID", "STATE", "AGE", "MEMORY"}};
  JsonWriter writer;
  writer.open();
  writer.be_array();
  for (const std::string& name : member->transport().peers()) {
    const auto facts = member->transport().look(name);
    if (facts.state == transport::PeerFacts::State::absent ||
        facts.state == transport::PeerFacts::State::dead)
      continue;
    const Pid pid = facts.elsewhere ? facts.noted : facts.pid;
    const std::string state = word_of(facts.state);
    // A number of another pid namespace would tell the age and the memory of another process here.
    const auto started = facts.pid > 0 ? os::start_time(facts.pid) : std::nullopt;
    const std::uint64_t memory = facts.pid > 0 ? os::resident_memory(facts.pid).value_or(0) : 0;
    const double age = started ? std::max(0.0, os::wall_clock_seconds() - *started) : 0;
    rows.push_back({wire::printable_name(name),
                    facts.class_name.empty() ? "-" : wire::printable_name(facts.class_name),
                    pid > 0 ? std::to_string(pid) : "?", state,
                    facts.elsewhere ? "other namespace"
                    : started       ? readable_age(age)
                                    : "?",
                    facts.elsewhere ? "-"
                    : memory > 0    ? readable_size(memory)
                                    : "?"});
    writer.open();
    // What somebody else put on the bus need not be UTF-8, and must not hide the others.
    writer.name_next("name");
    writer.raw(wire::json_string(name, wire::BrokenUtf8::replaced));
    writer.name_next("class");
    writer.raw(wire::json_string(facts.class_name, wire::BrokenUtf8::replaced));
    writer(cereal::make_nvp("pid", pid), cereal::make_nvp("state", state));
    if (facts.elsewhere) writer(cereal::make_nvp("other_namespace", true));
    if (started) writer(cereal::make_nvp("age_seconds", age));
    if (memory > 0) writer(cereal::make_nvp("memory_bytes", memory));
    writer.close();
  }
  writer.close();
  if (options.json)
    print_json(writer.take());
  else
    print_table(rows);
  return number(Status::done);
}

}  // namespace ipcm::launcher
