#pragma once

// Sockets that connect to a member's endpoint without being a member, and the frames of ConnectionUnix.

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <string>

#include "contract.h"
#include "os/clock.h"
#include "os/descriptor.h"

namespace ipcm::test {

/// Returns the address of the endpoint `name` on that bus.
[[nodiscard]] inline sockaddr_un address_in(const BusInfo& bus, const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = bus.route + "/" + name;
  REQUIRE(path.size() < sizeof address.sun_path);
  path.copy(&address.sun_path[0], path.size());
  return address;
}
[[nodiscard]] inline os::UniqueFd socket_to(const BusInfo& bus, const std::string& peer, int type) {
  os::UniqueFd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  const auto address = address_in(bus, peer);
  REQUIRE(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  return socket;
}
[[nodiscard]] inline os::UniqueFd socket_of(const BusInfo& bus, const std::string& name, int type) {
  os::UniqueFd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  const auto address = address_in(bus, name);
  REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  return socket;
}

/// Returns whether the other end closed the connection within kHang.
[[nodiscard]] inline bool is_hung_up(int socket) {
  for (;;) {
    pollfd wait{socket, POLLIN, 0};
    if (::poll(&wait, 1, os::Deadline::after(kHang).poll_timeout()) <= 0) return false;
    std::array<char, 4096> ignored{};
    if (::recv(socket, ignored.data(), ignored.size(), 0) <= 0) return true;
  }
}

[[nodiscard]] inline std::string big_endian(std::uint64_t value, int bytes) {
  std::string text;
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8)
    text.push_back(static_cast<char>(value >> shift & 0xff));
  return text;
}
[[nodiscard]] inline std::string frame(const std::string& payload) {
  return big_endian(payload.size(), 4) + payload;
}

}  // namespace ipcm::test
