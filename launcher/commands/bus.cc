// ipcm bus new|rm|ls|info|gc: buses as things of their own.

#include <algorithm>

#include "bus/service_log.h"
#include "bus/take_down.h"
#include "commands/commands.h"
#include "os/directory.h"
#include "os/process.h"
#include "report.h"
#include "transport/directory/route_info.h"
#include "transport/protocols.h"
#include "wire/json_text.h"

namespace ipcm::launcher {
namespace {

/// For a shell, whatever is in it.
std::string quoted(const std::string& text) {
  std::string all = "'";
  for (const char c : text) all.append(c == '\'' ? std::string("'\\''") : std::string(1, c));
  return all + "'";
}

struct BusFacts {
  BusInfo info;
  std::string owner;  // "4711", "dead", "none"
  bool orphaned = false;
  std::vector<std::string> peers;
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

void write(JsonWriter& writer, const BusFacts& facts) {
  writer.open();
  writer.name_next("info");
  writer.raw(facts.info.text());
  writer(cereal::make_nvp("route", facts.info.route), cereal::make_nvp("owner", facts.owner),
         cereal::make_nvp("peers", facts.peers));
  writer.close();
}

/// As we and the reference name the directories of buses: a prefix, the pid of who made it, random letters.
bool is_bus_name(std::string_view name) {
  for (const std::string_view prefix : {"ipcm-", "PerlIPCManager-"}) {
    if (!name.starts_with(prefix)) continue;
    name.remove_prefix(prefix.size());
    const auto digits = name.find_first_not_of("0123456789");
    return digits != std::string_view::npos && digits > 0 && name[digits] == '-';
  }
  return false;
}

std::vector<BusFacts> all_buses(const Options& options) {
  std::vector<BusFacts> all;
  for (const std::string& place : os::runtime_directories()) {
    if (os::look_at(place).kind != os::FileKind::directory) continue;
    for (const std::string& name : os::Directory(place).names()) {
      if (!is_bus_name(name)) continue;
      const std::string path = place + "/" + name;
      if (os::look_at(path).owner != os::own_user()) continue;
      try {
        if (const auto info = transport::read_route_info(path)) all.push_back(look_at_bus(options, *info));
      } catch (const Error&) {
        continue;  // it went while we looked
      }
    }
  }
  std::sort(all.begin(), all.end(),
            [](const BusFacts& a, const BusFacts& b) { return a.info.route < b.info.route; });
  return all;
}

}  // namespace

int bus_new(const Options& options) {
  SpawnOptions spawn = options.spawn_options();
  spawn.guard = false;
  const Guard guard = ipcm_spawn(spawn);
  if (options.json)
    print_line(R"({"info":)" + guard.info().text() + R"(,"route":)" + wire::json_string(guard.info().route) +
               "}");
  else
    print_line("IPCM_INFO=" + quoted(guard.info().text()) + "; export IPCM_INFO");
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
  for (const BusInfo& info : all) {
    SpawnOptions how = options.spawn_options();
    how.patience = options.limit(how.patience);
    const auto left = bus::take_down(info, how, {});
    if (!bus::all_proven(left)) {
      std::string who;
      for (const bus::Stayed& one : left)
        if (!one.is_proven) who.append(who.empty() ? "'" : ", '").append(one.name).append("'");
      throw Timeout(who + " did not leave; its process can't be proven from here, so the bus at " +
                    info.route + " stays: end it where it runs, then try again");
    }
    if (!left.empty()) stayed.append(stayed.empty() ? "" : ", ").append(bus::describe(left));
    if (!transport::find_protocol(info.protocol).remove_route(info))
      throw BusError("the bus at " + info.route +
                     " could not be removed entirely; look at what is left there");
    bus::remove_logs_elsewhere(info);
    tell(options, "removed " + info.route);
  }
  if (!stayed.empty()) throw Timeout("removed, but these did not leave: " + stayed);
  return number(Status::done);
}

int bus_ls(const Options& options) {
  const auto all = all_buses(options);
  if (options.json) {
    JsonWriter writer;
    writer.open();
    writer.be_array();
    for (const BusFacts& facts : all) write(writer, facts);
    writer.close();
    print_line(writer.take());
    return number(Status::done);
  }
  std::vector<std::vector<std::string>> rows = {{"ROUTE", "PROTOCOL", "OWNER", "PEERS"}};
  for (const BusFacts& facts : all)
    rows.push_back({facts.info.route, facts.info.protocol, facts.owner, std::to_string(facts.peers.size())});
  print_table(rows);
  return number(Status::done);
}

int bus_info(const Options& options) {
  const BusFacts facts = look_at_bus(options, options.bus_info());
  if (options.json) {
    JsonWriter writer;
    write(writer, facts);
    print_line(writer.take());
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
    JsonWriter writer;
    writer.open();
    writer.be_array();
    for (const ProtocolDescription& one : all) {
      writer.open();
      writer(cereal::make_nvp("name", one.name), cereal::make_nvp("summary", one.summary),
             cereal::make_nvp("viable", one.viable), cereal::make_nvp("why_not", one.why_not));
      writer.close();
    }
    writer.close();
    print_line(writer.take());
    return number(Status::done);
  }
  std::vector<std::vector<std::string>> rows = {{"PROTOCOL", "HERE", "WHAT IT IS"}};
  for (const ProtocolDescription& one : all)
    rows.push_back({one.name, one.viable ? "yes" : "no", one.viable ? one.summary : one.why_not});
  print_table(rows);
  return number(Status::done);
}

int bus_gc(const Options& options) {
  for (const BusFacts& facts : all_buses(options)) {
    if (!facts.orphaned || !facts.peers.empty()) continue;
    (void)transport::find_protocol(facts.info.protocol).remove_route(facts.info);
    print_line(options.json ? wire::json_string(facts.info.route) : facts.info.route);
  }
  return number(Status::done);
}

}  // namespace ipcm::launcher
