#include "os/socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "os/sys.h"

namespace ipcm::os {
namespace {

/// Paths here go through /proc/self/fd, so they are short unless the file name itself is too long.
sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw SystemError(ENAMETOOLONG, "use socket '" + path + "'");
  path.copy(address.sun_path, path.size());
  return address;
}

UniqueFd make_stream_socket() {
  return UniqueFd(
      sys("make", "socket", [] { return ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }));
}

}  // namespace

UniqueFd listen_at(const Directory& directory, const std::string& name) {
  UniqueFd socket = make_stream_socket();
  const sockaddr_un address = address_of(directory.short_path(name));
  const auto subject = [&] { return directory.path() + "/" + name; };
  sys("bind", subject,
      [&] { return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address); });
  sys("listen at", subject, [&] { return ::listen(socket.get(), SOMAXCONN); });
  return socket;
}

std::optional<UniqueFd> connect_to(const Directory& directory, const std::string& name, Deadline deadline) {
  UniqueFd socket = make_stream_socket();
  const sockaddr_un address = address_of(directory.short_path(name));
  const auto attempt = [&] {
    return quiet(
        [&] { return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address); });
  };
  if (attempt() == 0) return socket;
  if (errno == EAGAIN && !deadline.has_passed()) {
    // The listener's queue is full. There is nothing to poll for that; a blocking connect with a limit waits
    // in the kernel.
    const int left = deadline.poll_timeout();
    const timeval limit{left < 0 ? 0 : left / 1000, left < 0 ? 0 : (left % 1000) * 1000};
    const int flags = ::fcntl(socket.get(), F_GETFL);
    (void)::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    (void)::fcntl(socket.get(), F_SETFL, flags & ~O_NONBLOCK);
    const int result = attempt();
    const int error = errno;
    (void)::fcntl(socket.get(), F_SETFL, flags);
    if (result == 0) return socket;
    errno = error;
  }
  if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTSOCK) return std::nullopt;
  throw SystemError(errno, "connect to '" + directory.path() + "/" + name + "'");
}

std::optional<UniqueFd> accept_from(int listener, UniqueFd& reserve, bool* refused) {
  *refused = false;
  const auto take = [&] {
    return quiet([&] { return ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK); });
  };
  const int fd = take();
  if (fd >= 0) return UniqueFd(fd);
  if (errno == EMFILE || errno == ENFILE) {
    reserve.reset();
    { const UniqueFd unwanted(take()); }
    reserve = make_reserve();
    *refused = true;
  }
  return std::nullopt;
}

UniqueFd make_reserve() { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

std::optional<PeerIdentity> identity_of_peer(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return std::nullopt;
  return PeerIdentity{credentials.pid, credentials.uid};
}

SendResult send_some(int socket, std::string_view bytes, std::size_t* sent) {
  return send_some(socket, bytes, {}, sent);
}

SendResult send_some(int socket, std::string_view head, std::string_view body, std::size_t* sent) {
  std::array<iovec, 2> pieces{iovec{const_cast<char*>(head.data()), head.size()},
                              iovec{const_cast<char*>(body.data()), body.size()}};
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = body.empty() ? 1 : 2;
  *sent = 0;
  const ssize_t put = quiet([&] { return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT); });
  if (put >= 0) {
    *sent = static_cast<std::size_t>(put);
    return SendResult::some;
  }
  switch (errno) {
    case EAGAIN:
      return SendResult::later;
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
      return SendResult::closed;
    default:
      throw SystemError(errno, "send on socket");
  }
}

ReadResult receive_some(int socket, std::span<char> into, std::size_t* got) {
  *got = 0;
  const ssize_t taken = quiet([&] { return ::recv(socket, into.data(), into.size(), MSG_DONTWAIT); });
  if (taken > 0) {
    *got = static_cast<std::size_t>(taken);
    return ReadResult::some;
  }
  if (taken == 0 || errno == ECONNRESET) return ReadResult::end;
  if (errno == EAGAIN) return ReadResult::later;
  throw SystemError(errno, "receive on socket");
}

int send_datagram(const std::string& to, std::string_view bytes) noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (to.empty() || to.size() >= sizeof address.sun_path) return EINVAL;
  std::memcpy(address.sun_path, to.data(), to.size());
  if (to.front() == '@') address.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + to.size());
  const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return errno;
  const ssize_t sent = quiet([&] {
    return ::sendto(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL,
                    reinterpret_cast<const sockaddr*>(&address), size);
  });
  return sent < 0 ? errno : 0;
}

}  // namespace ipcm::os
