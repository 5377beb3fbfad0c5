// ipcm bus new|rm|ls|info|protocols|gc: make, list and remove buses.

#include <csignal>

#include "commands/commands.h"
#include "ipcm/buses.h"
#include "os/signals.h"
#include "report.h"
#include "wire/json_text.h"

namespace ipcm::launcher {
namespace {

/// Returns the text as one word for a shell.
std::string shell_quoted(const std::string& text) {
  std::string all = "'";
  for (const char c : text) all.append(c == '\'' ? std::string("'\\''") : std::string(1, c));
  return all + "'";
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text.append(text.empty() ? "'" : ", '").append(name).append("'");
  return text;
}

/// A bus as `ipcm bus new --json` prints it.
struct NewBus {
  BusInfo info;

  void save(JsonWriter& archive) const {
    archive(cereal::make_nvp("info", Content::json(info.text())), cereal::make_nvp("route", info.route));
  }
};

std::string owner_of(const BusStatus& bus) {
  if (bus.is_being_removed) return "being removed";
  switch (bus.owner.state) {
    case BusOwner::State::none:
      return "none";
    case BusOwner::State::dead:
      return "dead";
    case BusOwner::State::alive:
      return std::to_string(bus.owner.pid);
    default:
      return "other namespace";
  }
}

/// A bus as `ipcm bus ls --json` and `ipcm bus info --json` print it.
struct BusEntry {
  const BusStatus& bus;

  explicit BusEntry(const BusStatus& of) : bus(of) {}
  void save(JsonWriter& archive) const {
    archive(cereal::make_nvp("info", Content::json(bus.info.text())),
            cereal::make_nvp("route", bus.info.route), cereal::make_nvp("owner", owner_of(bus)),
            cereal::make_nvp("peers", bus.peers));
  }
};

/// A protocol as `ipcm bus protocols --json` prints it.
struct ProtocolEntry {
  ProtocolDescription description;

  explicit ProtocolEntry(const ProtocolDescription& given) : description(given) {}
  void save(JsonWriter& archive) const {
    archive(cereal::make_nvp("name", description.name), cereal::make_nvp("summary", description.summary),
            cereal::make_nvp("viable", description.viable), cereal::make_nvp("why_not", description.why_not));
  }
};

}  // namespace

int bus_new(const Options& options) {
  SpawnOptions spawn = options.spawn_options();
  spawn.guard = false;
  Guard guard = ipcm_spawn(spawn);
  try {
    if (options.json)
      print_json(json_of(NewBus{guard.info()}));
    else
      print_json("IPCM_INFO=" + shell_quoted(guard.info().text()) + "; export IPCM_INFO");
    flush_output();
  } catch (const OutputLost&) {
    // The caller did not get the info string, so nobody can use the bus.
    try {
      guard.unspawn();
    } catch (const Error&) {  // the lost output is the error to report
    }
    throw;
  }
  return number(Status::done);
}

int bus_rm(const Options& options) {
  std::vector<BusInfo> all;
  for (const std::string& word : options.words) {
    Options of = options;
    of.bus = word;
    all.push_back(of.bus_info());
  }
  if (all.empty()) all.push_back(options.bus_info());
  std::string stayed;
  // A signal hurries the removal instead of ending this process, which would leave half a bus.
  os::SignalReader signals(os::heeded({SIGINT, SIGTERM, SIGHUP}));
  for (const BusInfo& info : all) {
    SpawnOptions how = options.spawn_options();
    how.hurry_fd = signals.fd();
    how.patience = options.limit(how.patience);
    const EndedBus ended = end_bus(info, how);
    if (!all_proven(ended.stayed)) {
      std::vector<std::string> who;
      for (const StayedPeer& one : ended.stayed)
        if (!one.is_proven) who.push_back(one.name);
      throw Timeout(listed(who) + " did not leave; its process can't be proven from here, so the bus at " +
                    info.route + " was not removed: end it where it runs, then try again");
    }
    if (!ended.stayed.empty()) stayed.append(stayed.empty() ? "" : ", ").append(describe(ended.stayed));
    if (!ended.is_removed)
      throw BusError("the bus at '" + info.route + "' can't be removed: " + ended.why_not);
    tell(options, "removed " + info.route);
    if (!ended.foreign_files.empty())
      throw BusError("the bus at '" + info.route +
                     "' was removed, but its directory was not: it has files that do not belong to a bus: " +
                     listed(ended.foreign_files));
  }
  signals.discard();
  if (!stayed.empty()) throw Timeout("removed, but these did not leave: " + stayed);
  return number(Status::done);
}

int bus_ls(const Options& options) {
  const BusList all = list_buses();
  if (options.json) {
    print_json(json_of(std::vector<BusEntry>(all.buses.begin(), all.buses.end())));
    all.expect_complete();
    return number(Status::done);
  }
  std::vector<std::vector<std::string>> rows = {{"ROUTE", "PROTOCOL", "OWNER", "PEERS"}};
  for (const BusStatus& bus : all.buses)
    rows.push_back({bus.info.route, bus.info.protocol, owner_of(bus), std::to_string(bus.peers.size())});
  print_table(rows);
  all.expect_complete();
  return number(Status::done);
}

int bus_info(const Options& options) {
  const BusStatus bus = bus_status(options.bus_info());
  if (options.json) {
    print_json(json_of(BusEntry(bus)));
    return number(Status::done);
  }
  std::string peers;
  for (const std::string& peer : bus.peers) peers.append(peers.empty() ? "" : ", ").append(peer);
  print_table({{"info", bus.info.text()},
               {"protocol", bus.info.protocol},
               {"serializer", bus.info.serializer},
               {"route", bus.info.route},
               {"owner", owner_of(bus)},
               {"peers", peers.empty() ? "none" : peers}});
  return number(Status::done);
}

int bus_protocols(const Options& options) {
  const auto all = known_protocols();
  if (options.json) {
    print_json(json_of(std::vector<ProtocolEntry>(all.begin(), all.end())));
    return number(Status::done);
  }
  std::vector<std::vector<std::string>> rows = {{"PROTOCOL", "HERE", "WHAT IT IS"}};
  for (const ProtocolDescription& one : all)
    rows.push_back({one.name, one.viable ? "yes" : "no", one.viable ? one.summary : one.why_not});
  print_table(rows);
  return number(Status::done);
}

int bus_gc(const Options& options) {
  const RemovedBuses removed = remove_abandoned_buses();
  for (const std::string& path : removed.paths) {
    if (options.json)
      print_json(wire::json_string(path));
    else
      print_line(path);
  }
  removed.expect_complete();
  return number(Status::done);
}

}  // namespace ipcm::launcher
