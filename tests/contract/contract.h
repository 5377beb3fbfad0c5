#pragma once

// The contract that every protocol keeps. The suite is built once and run once for each protocol that
// tests/contract/meson.build lists, and once more for each other serializer; by hand:
// IPCM_TEST_PROTOCOL=ConnectionUnix IPCM_TEST_SERIALIZER=Cereal contract_bus.

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "support/peers.h"
#include "transport/protocols.h"

namespace ipcm::test {

using Strings = std::vector<std::string>;

[[nodiscard]] inline std::string protocol() {
  const char* name = std::getenv("IPCM_TEST_PROTOCOL");
  return name != nullptr ? name : "ConnectionUnix";
}

[[nodiscard]] inline std::string serializer() {
  const char* name = std::getenv("IPCM_TEST_SERIALIZER");
  return name != nullptr ? name : "JSON";
}

/// Whether messages wait for a receiver that is away.
[[nodiscard]] inline bool keeps_messages() { return transport::find_protocol(protocol()).keeps_messages(); }
// What not every protocol can. A test that asks for more than the protocol under test has is left out of that
// run (doctest counts it as skipped, not as passed):
//
//   TEST_CASE_FIXTURE(Tidy, "A10: …" * kept_messages()) { … }

struct LeaveOut {
  bool when;
  template <class TestCaseOrSuite>
  void fill(TestCaseOrSuite& test) const {
    test.m_skip = test.m_skip || when;
  }
};
/// For tests where messages wait for a receiver that is away; or, with false, where they do not.
[[nodiscard]] inline LeaveOut kept_messages(bool kept = true) {
  return {transport::find_protocol(protocol()).keeps_messages() != kept};
}
/// For tests with members in other processes.
[[nodiscard]] inline LeaveOut needs_processes() {
  return {transport::find_protocol(protocol()).within_one_process()};
}

/// For tests of behaviour inside one process.
[[nodiscard]] inline LeaveOut needs_no_processes() { return {!needs_processes().when}; }
/// For tests that look at where a bus lies in the file system.
[[nodiscard]] inline LeaveOut needs_files() { return needs_processes(); }

/// How a bus of the protocol under test is made.
[[nodiscard]] inline SpawnOptions bus_options() {
  SpawnOptions options;
  options.protocols = {protocol()};
  options.serializer = serializer();
  // A database on the server that tests/support/servers.py has started.
  if (const char* route = std::getenv("IPCM_TEST_ROUTE")) options.route = route;
  return options;
}
[[nodiscard]] inline Guard spawn_bus() { return ipcm_spawn(bus_options()); }

/// Removes a bus without an owner.
[[nodiscard]] inline bool remove_bus(const BusInfo& info) {
  return transport::find_protocol(info.protocol).remove_route(info).is_gone;
}

/// What a route leads to, of a bus that may have been taken down: a file or a directory, or tables on a
/// server.
[[nodiscard]] inline bool bus_exists(const BusInfo& info) {
  if (info.route.starts_with('/')) return std::filesystem::exists(info.route);
  try {
    (void)ipcm_connect("probe", info);
    return true;
  } catch (const BusError&) {
    return false;
  }
}

/// A process that joins the bus, and then does `body`.
[[nodiscard]] inline std::function<int(Lines&)> member(const std::string& name, const std::string& info,
                                                       std::function<void(Lines&, Client&)> body) {
  return [=](Lines& test) {
    Client client = ipcm_connect(name, info);
    test.say("joined");
    body(test, client);
    return 0;
  };
}
inline void stays(Lines& test, Client&) { test.hear(); }

/// A forked service on a new bus of that protocol, or on an existing one.
[[nodiscard]] inline Handle start(const std::string& name, ServiceOptions options) {
  options.bus = bus_options();
  return ipcm_service(name, options);
}
[[nodiscard]] inline Handle start_on(const BusInfo& bus, const std::string& name, ServiceOptions options) {
  options.ipcm_info = bus;
  return ipcm_service(name, options);
}

}  // namespace ipcm::test
