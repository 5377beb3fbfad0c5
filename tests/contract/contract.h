#pragma once

// The contract that every protocol keeps. The suite is built once and run once for each protocol that
// tests/contract/meson.build lists; by hand: IPCM_TEST_PROTOCOL=ConnectionUnix contract_bus.

#include <cstdlib>

#include <filesystem>

#include "support/peers.h"
#include "transport/protocols.h"

namespace ipcm::test {

[[nodiscard]] inline std::string protocol() {
  const char* name = std::getenv("IPCM_TEST_PROTOCOL");
  return name != nullptr ? name : "ConnectionUnix";
}

/// How a bus of the protocol under test is made.
[[nodiscard]] inline SpawnOptions bus_options() {
  SpawnOptions options;
  options.protocols = {protocol()};
  // A database on the server that tests/support/servers.py has started.
  if (const char* route = std::getenv("IPCM_TEST_ROUTE")) options.route = route;
  return options;
}
[[nodiscard]] inline Guard spawn_bus() { return ipcm_spawn(bus_options()); }

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
/// Removes a bus that nobody owns.
inline void remove_bus(const BusInfo& info) {
  CHECK(transport::find_protocol(info.protocol).remove_route(info));
}

/// A forked service on a new bus of that protocol, or on an existing one.
[[nodiscard]] inline Handle start(const std::string& name, ServiceOptions options) {
  options.bus = bus_options();
  return ipcm_service(name, options);
}
[[nodiscard]] inline Handle start_on(const BusInfo& bus, const std::string& name, ServiceOptions options) {
  options.ipcm_info = bus;
  return ipcm_service(name, options);
}

/// A service that answers each request with itself.
[[nodiscard]] inline ServiceOptions echoing() {
  ServiceOptions options;
  options.handle_request = [](Service&, const Request& request) -> Answer { return request.raw(); };
  return options;
}

}  // namespace ipcm::test
