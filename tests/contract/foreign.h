#pragma once

// Peers like those of the reference, which have no lock file, only an endpoint N and N.pid. Also helpers for
// tests of raw bytes.

#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "contract.h"
#include "os/clock.h"

namespace ipcm::test {

/// Announces that the endpoint `name` in the route can receive: writes the pid file under another name, then
/// renames it.
inline void announce_foreign(const BusInfo& bus, const std::string& name, Pid pid) {
  const std::string file = bus.route + "/" + name + ".pid";
  write_file(file + ".pend", std::to_string(pid));
  REQUIRE(std::rename((file + ".pend").c_str(), file.c_str()) == 0);
}
inline void remove_foreign(const BusInfo& bus, const std::string& name) {
  (void)::unlink((bus.route + "/" + name).c_str());
}

/// Returns the bytes of a message with these members.
[[nodiscard]] inline std::string wire_message(const std::string& members) {
  return R"({"id":"01A2050B-EF33-7769-9AB2-B6C36F6D7024","to":"target","stamp":1795380997.9,"stamp_ord":0,)" +
         members + "}";
}
/// Returns a message from `raw` of exactly `size` bytes.
[[nodiscard]] inline std::string wire_message_of(std::size_t size) {
  const std::string empty = wire_message(R"("from":"raw","content":"")");
  REQUIRE(size >= empty.size());
  return wire_message(R"("from":"raw","content":")" + std::string(size - empty.size(), 'x') + "\"");
}

/// Serves the client until its descriptor is not readable. A client that spins fails the test.
inline void serve_until_silent(Client& client) {
  const auto deadline = os::Deadline::after(kHang);
  for (;;) {
    pollfd look{client.fd(), POLLIN, 0};
    if (::poll(&look, 1, 0) == 0) return;
    client.dispatch();
    if (deadline.has_passed()) FAIL("its descriptor stays readable");
  }
}

/// Takes messages from a client until it has none.
inline std::vector<Message> take_all(Client& client) {
  std::vector<Message> all;
  for (;;) {
    auto some = client.get_messages();
    if (some.empty()) return all;
    for (Message& message : some) all.push_back(std::move(message));
  }
}

[[nodiscard]] inline bool readable(int fd) {
  pollfd look{fd, POLLIN, 0};
  return ::poll(&look, 1, os::Deadline::after(kHang).poll_timeout()) > 0;
}

}  // namespace ipcm::test
