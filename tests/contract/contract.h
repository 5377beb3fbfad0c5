#pragma once

// The contract that every protocol keeps. The suite is built once. It runs once for each protocol in
// tests/contract/meson.build, and once more for each other serializer. To run it by hand:
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

/// Returns whether messages wait for a receiver that is away.
[[nodiscard]] inline bool keeps_messages() { return transport::find_protocol(protocol()).keeps_messages(); }
// Abilities that not every protocol has. If the protocol under test lacks an ability that a test needs, the
// test is left out of the run (doctest counts it as skipped, not as passed):
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
/// For tests that examine the files of a bus.
[[nodiscard]] inline LeaveOut needs_files() { return needs_processes(); }

/// Returns the options of a new bus of the protocol under test.
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

/// Returns whether the route of a bus that may have been removed still leads to a file, to a directory, or to
/// tables on a server.
[[nodiscard]] inline bool bus_exists(const BusInfo& info) {
  if (info.route.starts_with('/')) return std::filesystem::exists(info.route);
  try {
    (void)ipcm_connect("probe", info);
    return true;
  } catch (const BusError&) {
    return false;
  }
}

/// Returns the body of a process that joins the bus and then runs `body`.
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

/// Starts a forked service on a new bus of the protocol under test; start_on() uses an existing bus.
[[nodiscard]] inline Handle start(const std::string& name, ServiceOptions options) {
  options.bus = bus_options();
  return ipcm_service(name, options);
}
[[nodiscard]] inline Handle start_on(const BusInfo& bus, const std::string& name, ServiceOptions options) {
  options.ipcm_info = bus;
  return ipcm_service(name, options);
}

}  // namespace ipcm::test
