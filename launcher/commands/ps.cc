// ipcm ps: lists the members of a bus.

#include <algorithm>
#include <chrono>

#include "commands/commands.h"
#include "commands/dead.h"
#include "ipcm/peer_info.h"
#include "report.h"
#include "wire/json_text.h"
#include "wire/printable.h"

namespace ipcm::launcher {

namespace {

/// A peer as `ipcm ps` shows it. The age and the memory of a process in another pid namespace are unknown:
/// its number means another process here.
struct Line {
  const PeerInfo& peer;
  Pid pid;
  std::optional<double> age;  // in seconds

  explicit Line(const PeerInfo& of) : peer(of), pid(of.pid.value_or(0)) {
    using Seconds = std::chrono::duration<double>;
    if (of.started) age = std::max(0.0, Seconds(std::chrono::system_clock::now() - *of.started).count());
  }

  /// Its state on the bus, unless its process is stopped or a zombie.
  [[nodiscard]] std::string state() const {
    const bool tells_more =
        peer.process == PeerInfo::Process::stopped || peer.process == PeerInfo::Process::zombie;
    return tells_more ? to_string(peer.process) : to_string(peer.state);
  }

  [[nodiscard]] std::optional<double> processor_seconds() const {
    if (!peer.processor_time) return std::nullopt;
    return std::chrono::duration<double>(*peer.processor_time).count();
  }

  void save(JsonWriter& archive) const {
    archive(cereal::make_nvp("name", foreign_text(peer.name)),
            cereal::make_nvp("class", foreign_text(peer.class_name)), cereal::make_nvp("pid", pid),
            cereal::make_nvp("state", state()),
            cereal::make_nvp("bus_state", std::string(to_string(peer.state))),
            cereal::make_nvp("process", std::string(to_string(peer.process))),
            cereal::make_nvp("proven", peer.is_proven));
    if (peer.is_elsewhere) archive(cereal::make_nvp("other_namespace", true));
    if (age) archive(cereal::make_nvp("age_seconds", *age));
    if (const auto seconds = processor_seconds()) archive(cereal::make_nvp("cpu_seconds", *seconds));
    if (peer.resident_bytes) archive(cereal::make_nvp("memory_bytes", *peer.resident_bytes));
  }

  [[nodiscard]] std::vector<std::string> columns() const {
    return {wire::printable_name(peer.name),
            peer.class_name.empty() ? "-" : wire::printable_name(peer.class_name),
            pid > 0 ? std::to_string(pid) : "?",
            state(),
            peer.is_elsewhere ? "other namespace"
            : age             ? readable_age(*age)
                              : "?",
            shown_processor_time(),
            peer.is_elsewhere     ? "-"
            : peer.resident_bytes ? readable_size(*peer.resident_bytes)
                                  : "?"};
  }

 private:
  [[nodiscard]] std::string shown_processor_time() const {
    if (peer.is_elsewhere) return "-";
    const auto seconds = processor_seconds();
    return seconds ? readable_seconds(*seconds) : "?";
  }
};

}  // namespace

int ps(const Options& options) {
  const auto peers = list_peers(visit(options));
  const std::vector<Line> lines(peers.begin(), peers.end());
  if (options.json) {
    print_json(options.all ? with_the_dead(options, json_of(lines)) : json_of(lines));
    return number(Status::done);
  }
  std::vector<std::vector<std::string>> rows = {{"NAME", "CLASS", "PID", "STATE", "AGE", "CPU", "MEMORY"}};
  for (const Line& line : lines) rows.push_back(line.columns());
  print_table(rows);
  if (options.all) print_the_dead(options);
  return number(Status::done);
}

}  // namespace ipcm::launcher
