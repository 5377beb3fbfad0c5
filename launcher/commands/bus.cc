// ipcm bus new|rm|ls|info|protocols|gc: make, list and remove buses.

#include <algorithm>
#include <csignal>
#include <exception>

#include "bus/end_bus.h"
#include "bus/find_buses.h"
#include "commands/commands.h"
#include "os/signals.h"
#include "report.h"
#include "transport/protocols.h"
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

struct BusFacts {
  BusInfo info;
  std::string owner;  // "4711", "dead", "none"
  bool orphaned = false;
  std::vector<std::string> peers;

  void save(JsonWriter& archive) const {
    archive(cereal::make_nvp("info", Content::json(info.text())), cereal::make_nvp("route", info.route),
            cereal::make_nvp("owner", owner), cereal::make_nvp("peers", peers));
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

BusFacts look_at_bus(const Options& options, const BusInfo& info) {
  Options of = options;
  of.bus = info.text();
  const auto member = visit(of);
  BusFacts facts;
  facts.info = info;
  facts.peers = member->transport().peers();
  const auto owner = transport::find_protocol(info.protocol).owner(info);
  facts.owner = !owner.exists   ? "none"
                : !owner.held   ? "dead"
                : owner.pid > 0 ? std::to_string(owner.pid)
                                : "other namespace";
  facts.orphaned = owner.exists && !owner.held;
  return facts;
}

/// All buses that can be found. The list goes on after a bus that can't be examined: `failed` has the first
/// error.
struct AllBuses {
  std::vector<BusFacts> buses;
  std::exception_ptr failed;

  /// Throws the error if the list is not complete. Call it after the list was printed.
  void expect_complete() const {
    if (failed) std::rethrow_exception(failed);
  }
};

AllBuses all_buses(const Options& options) {
  AllBuses all;
  for (const bus::FoundBus& found : bus::find_buses()) {
    const auto info = bus::bus_at(found);
    if (!info) continue;
    if (bus::is_being_removed(found)) {
      BusFacts facts;
      facts.info = *info;
      facts.owner = "being removed";
      all.buses.push_back(std::move(facts));
      continue;
    }
    try {
      all.buses.push_back(look_at_bus(options, *info));
    } catch (const BusError&) {
      const bool has_gone = !bus::bus_at(found) || bus::is_being_removed(found);  // meanwhile
      if (!has_gone && !all.failed) all.failed = std::current_exception();
    }
  }
  return all;
}

}  // namespace

int bus_new(const Options& options) {
  SpawnOptions spawn = options.spawn_options();
  spawn.guard = false;
  const Guard guard = ipcm_spawn(spawn);
  try {
    if (options.json)
      print_json(json_of(NewBus{guard.info()}));
    else
      print_json("IPCM_INFO=" + shell_quoted(guard.info().text()) + "; export IPCM_INFO");
    flush_output();
  } catch (const OutputLost&) {
    // The caller did not get the info string, so nobody can use the bus.
    (void)transport::find_protocol(guard.info().protocol).remove_route(guard.info());
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
    const bus::Ended ended = bus::end_found_bus(info, how);
    if (!bus::all_proven(ended.stayed)) {
      std::vector<std::string> who;
      for (const bus::Stayed& one : ended.stayed)
        if (!one.is_proven) who.push_back(one.name);
      throw Timeout(listed(who) + " did not leave; its process can't be proven from here, so the bus at " +
                    info.route + " was not removed: end it where it runs, then try again");
    }
    if (!ended.stayed.empty()) stayed.append(stayed.empty() ? "" : ", ").append(bus::describe(ended.stayed));
    if (!ended.removal)
      throw BusError("the bus at '" + info.route + "' can't be removed: " + ended.removal.why);
    tell(options, "removed " + info.route);
    if (!ended.removal.left.empty())
      throw BusError("the bus at '" + info.route +
                     "' was removed, but its directory was not: it has files that do not belong to a bus: " +
                     listed(ended.removal.left));
  }
  signals.discard();
  if (!stayed.empty()) throw Timeout("removed, but these did not leave: " + stayed);
  return number(Status::done);
}

int bus_ls(const Options& options) {
  const auto all = all_buses(options);
  if (options.json) {
    print_json(json_of(all.buses));
    all.expect_complete();
    return number(Status::done);
  }
  std::vector<std::vector<std::string>> rows = {{"ROUTE", "PROTOCOL", "OWNER", "PEERS"}};
  for (const BusFacts& facts : all.buses)
    rows.push_back({facts.info.route, facts.info.protocol, facts.owner, std::to_string(facts.peers.size())});
  print_table(rows);
  all.expect_complete();
  return number(Status::done);
}

int bus_info(const Options& options) {
  const BusFacts facts = look_at_bus(options, options.bus_info());
  if (options.json) {
    print_json(json_of(facts));
    return number(Status::done);
  }
  std::string peers;
  for (const std::string& peer : facts.peers) peers.append(peers.empty() ? "" : ", ").append(peer);
  print_table({{"info", facts.info.text()},
               {"protocol", facts.info.protocol},
               {"serializer", facts.info.serializer},
               {"route", facts.info.route},
               {"owner", facts.owner},
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
  const auto told = [&](const std::string& path) {
    if (options.json)
      print_json(wire::json_string(path));
    else
      print_line(path);
  };
  const AllBuses all = all_buses(options);
  for (const BusFacts& facts : all.buses) {
    if (!facts.orphaned || !facts.peers.empty()) continue;
    if (transport::find_protocol(facts.info.protocol).remove_route(facts.info, transport::Living::spare))
      told(facts.info.route);
  }
  for (const bus::FoundBus& found : bus::find_buses())
    if (bus::remove_remains(found)) told(found.path);
  all.expect_complete();
  return number(Status::done);
}

}  // namespace ipcm::launcher
