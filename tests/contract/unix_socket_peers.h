#pragma once

// Peers of UnixSocket that behave like the reference, and datagrams that only this library sends.

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "foreign.h"
#include "os/descriptor.h"
#include "raw_sockets.h"

namespace ipcm::test {

/// The number of bytes in the largest datagram that the reference reads.
inline constexpr std::size_t kLargest = 65536;
inline constexpr std::size_t kMiB = 1024UL * 1024;

/// A sender like that of the reference: a connected socket without an address.
class Raw {
 public:
  Raw(const BusInfo& bus, const std::string& peer) : socket_(socket_to(bus, peer, SOCK_DGRAM)) {}
  void send(const std::string& bytes, const std::vector<int>& descriptors = {}) {
    iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(8 * sizeof(int))> control{};
    if (!descriptors.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
      cmsghdr* head = CMSG_FIRSTHDR(&message);
      head->cmsg_level = SOL_SOCKET;
      head->cmsg_type = SCM_RIGHTS;
      head->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
      std::memcpy(CMSG_DATA(head), descriptors.data(), descriptors.size() * sizeof(int));
    }
    REQUIRE(::sendmsg(socket_.get(), &message, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
  }

 private:
  os::UniqueFd socket_;
};

/// A reader like that of the reference.
class ForeignPeer {
 public:
  ForeignPeer(const BusInfo& bus, const std::string& name)
      : bus_(bus), name_(name), socket_(socket_of(bus, name, SOCK_DGRAM)) {
    announce_foreign(bus, name, ::getpid());
  }
  ForeignPeer(ForeignPeer&&) = default;
  ~ForeignPeer() {
    if (socket_) remove_foreign(bus_, name_);
  }
  /// Returns the next datagram, read into a buffer of 65536 bytes like that of the reference.
  std::string hear() {
    REQUIRE(readable(socket_.get()));
    std::string bytes(kLargest, '\0');
    const auto got = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
    REQUIRE(got >= 0);
    bytes.resize(static_cast<std::size_t>(got));
    return bytes;
  }
  [[nodiscard]] bool heard_nothing() const {
    char byte = 0;
    return ::recv(socket_.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0;
  }

 private:
  BusInfo bus_;
  std::string name_;
  os::UniqueFd socket_;
};

[[nodiscard]] inline std::string large_note(std::uint64_t size) {
  return std::string("\0ipcm\1", 6) + big_endian(size, 8);
}

}  // namespace ipcm::test
