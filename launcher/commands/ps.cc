// ipcm ps: lists the members of a bus.

#include <algorithm>
#include <chrono>

#include "commands/commands.h"
#include "commands/dead.h"
#include "ipcm/peer_info.h"
#include "peer_list.h"
#include "report.h"
#include "wire/json_text.h"
#include "wire/printable.h"

namespace ipcm::launcher {

namespace {

/// A peer as `ipcm ps` shows it. The age and the memory of a process in another pid namespace are unknown:
/// its number means another process here.
struct Line {
  const PeerInfo& peer;
  const Inspected* ping;  // null: it was not asked
  Pid pid;
  std::optional<double> age;  // in seconds

  Line(const PeerInfo& of, const Inspected* pinged) : peer(of), ping(pinged), pid(of.pid.value_or(0)) {
    using Seconds = std::chrono::duration<double>;
    if (of.started) age = std::max(0.0, Seconds(std::chrono::system_clock::now() - *of.started).count());
  }

  /// Its state on the bus, unless its process is stopped or a zombie, or it does not answer.
  [[nodiscard]] std::string state() const {
    const bool tells_more =
        peer.process == PeerInfo::Process::stopped || peer.process == PeerInfo::Process::zombie;
    if (tells_more) return to_string(peer.process);
    return is_silent() ? "not answering" : to_string(peer.state);
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
    if (facts() != nullptr || is_silent()) archive(cereal::make_nvp("answers", !is_silent()));
    const Inspection* told = facts();
    if (told != nullptr)
      archive(cereal::make_nvp("queued", told->messages.waiting),
              cereal::make_nvp("answered", told->requests.answered));
  }

  [[nodiscard]] std::vector<std::string> columns(bool with_ping) const {
    std::vector<std::string> cells = {wire::printable_name(peer.name),
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
    if (!with_ping) return cells;
    const Inspection* told = facts();
    cells.push_back(told == nullptr ? "-" : std::to_string(told->messages.waiting));
    cells.push_back(told == nullptr ? "-" : std::to_string(told->requests.answered));
    return cells;
  }

 private:
  [[nodiscard]] const Inspection* facts() const {
    return ping != nullptr && ping->facts ? &*ping->facts : nullptr;
  }
  [[nodiscard]] bool is_silent() const {
    return ping != nullptr && ping->outcome == Inspected::Outcome::silent;
  }
  [[nodiscard]] std::string shown_processor_time() const {
    if (peer.is_elsewhere) return "-";
    const auto seconds = processor_seconds();
    return seconds ? readable_seconds(*seconds) : "?";
  }
};

std::vector<Line> lines_of(const PeerList& list) {
  std::vector<Line> lines;
  lines.reserve(list.peers.size());
  for (const PeerInfo& peer : list.peers) {
    const auto ping = list.pings.find(peer.name);
    lines.emplace_back(peer, ping == list.pings.end() ? nullptr : &ping->second);
  }
  return lines;
}

}  // namespace

std::string json_of_peers(const PeerList& list) { return json_of(lines_of(list)); }
std::string json_of_peer(const PeerInfo& peer, const Inspected& ping) { return json_of(Line(peer, &ping)); }

std::vector<std::vector<std::string>> rows_of(const PeerList& list) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "CLASS", "PID", "STATE", kAgeColumn, "CPU", "MEMORY"}};
  if (list.is_pinged) rows.front().insert(rows.front().end(), {"QUEUED", "ANSWERED"});
  for (const Line& line : lines_of(list)) rows.push_back(line.columns(list.is_pinged));
  return rows;
}

int ps(const Options& options) {
  if (options.watch) return watch_peers(options);
  Client client = visit(options);
  const PeerList list = list_with_pings(client, options.ping, options.limit(kPingLimit));
  if (options.json) {
    print_json(options.all ? with_the_dead(options, json_of_peers(list)) : json_of_peers(list));
    return number(Status::done);
  }
  print_table(rows_of(list));
  if (options.all) print_the_dead(options);
  return number(Status::done);
}

}  // namespace ipcm::launcher
