#pragma once

// Peers as the reference makes them: no lock file, only an endpoint N and N.pid. And what tests of bytes
// share.

#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "contract.h"
#include "os/clock.h"

namespace ipcm::test {

/// Says that the endpoint `name` in the route can receive: under another name first, then renamed.
inline void announce_foreign(const BusInfo& bus, const std::string& name, Pid pid) {
  const std::string file = bus.route + "/" + name + ".pid";
  write_file(file + ".pend", std::to_string(pid));
  REQUIRE(std::rename((file + ".pend").c_str(), file.c_str()) == 0);
}
inline void remove_foreign(const BusInfo& bus, const std::string& name) {
  (void)::unlink((bus.route + "/" + name).c_str());
}

/// A message as it stands on the wire.
[[nodiscard]] inline std::string wire_message(const std::string& members) {
  return R"({"id":"01A2050B-EF33-7769-9AB2-B6C36F6D7024","to":"target","stamp":1795380997.9,"stamp_ord":0,)" +
         members + "}";
}
/// The same, from `raw`, of exactly `size` bytes.
[[nodiscard]] inline std::string wire_message_of(std::size_t size) {
  const std::string empty = wire_message(R"("from":"raw","content":"")");
  REQUIRE(size >= empty.size());
  return wire_message(R"("from":"raw","content":")" + std::string(size - empty.size(), 'x') + "\"");
}

/// Serves the client until its descriptor has nothing more; a client that would spin never gets there.
inline void serve_until_silent(Client& client) {
  const auto deadline = os::Deadline::after(kHang);
  for (;;) {
    pollfd look{client.fd(), POLLIN, 0};
    if (::poll(&look, 1, 0) == 0) return;
    client.dispatch();
    if (deadline.has_passed()) FAIL("its descriptor stays readable");
  }
}

/// Takes messages from a client until none are there.
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
