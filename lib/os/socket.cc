#include "os/socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
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

UniqueFd make_socket(int type) {
  return UniqueFd(
      sys("make", "socket", [&] { return ::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }));
}

}  // namespace

UniqueFd listen_at(const Directory& directory, const std::string& name) {
  UniqueFd socket = make_socket(SOCK_STREAM);
  // Between bind() and listen() a caller is refused, and would take this process for a dead one. So the socket gets its
  // name when it listens.
  const std::string pending = pending_name();
  const sockaddr_un address = address_of(directory.short_path(pending));
  const auto subject = [&] { return directory.path() + "/" + name; };
  sys("bind", subject,
      [&] { return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address); });
  try {
    sys("listen at", subject, [&] { return ::listen(socket.get(), SOMAXCONN); });
    directory.rename_to_new(pending, name);
  } catch (...) {
    (void)directory.remove_file(pending);
    throw;
  }
  return socket;
}

std::optional<UniqueFd> connect_to(const Directory& directory, const std::string& name, Deadline deadline) {
  UniqueFd socket = make_socket(SOCK_STREAM);
  const sockaddr_un address = address_of(directory.short_path(name));
  const auto attempt = [&] {
    return quiet(
        [&] { return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address); });
  };
  if (attempt() == 0) return socket;
  if (errno == EAGAIN && !deadline.has_passed()) {
    // The listener's queue is full. poll() cannot wait for that; a blocking connect() with a send timeout
    // waits in the kernel. A timeout of 0 would mean no limit.
    const int left = deadline.is_never() ? 0 : std::max(deadline.poll_timeout(), 1);
    const timeval limit{left / 1000, (left % 1000) * 1000};
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
  const std::string subject = "connect to '" + directory.path() + "/" + name + "'";
  if (errno == EAGAIN)
    throw Timeout(subject +
                  ": its queue of connections stayed full: it is stopped, or too slow for its callers");
  throw SystemError(errno, subject);
}

Accepted accept_from(int listener, UniqueFd& reserve) {
  const auto take = [&] {
    return above_standard_streams(
        quiet([&] { return ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK); }));
  };
  const int fd = take();
  if (fd >= 0) return {UniqueFd(fd)};
  if (errno == EAGAIN || errno == ECONNABORTED) return {};
  const int error = errno;
  if ((error != EMFILE && error != ENFILE) || !reserve) {
    if (!reserve) reserve = make_reserve();
    return {{}, false, error};
  }
  reserve.reset();
  bool refused = false;
  {
    // accept() needs a free descriptor even if no connection is pending: perhaps none is.
    const UniqueFd unwanted(take());
    refused = static_cast<bool>(unwanted);
  }
  reserve = make_reserve();
  return {{}, refused};
}

UniqueFd make_reserve() {
  return UniqueFd(above_standard_streams(::open("/dev/null", O_RDONLY | O_CLOEXEC)));
}

std::optional<PeerIdentity> identity_of_peer(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return std::nullopt;
  return PeerIdentity{credentials.pid, credentials.uid};
}

namespace {

SendResult meaning_of_sent(ssize_t put, std::size_t* sent) {
  *sent = 0;
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

SendResult send_some(int socket, const msghdr& message, std::size_t* sent) {
  return meaning_of_sent(quiet([&] { return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT); }),
                         sent);
}

/// Room for one descriptor, or a few, beside the bytes.
template <std::size_t kMost>
class Rights {
 public:
  void attach(msghdr& message, std::span<const int> descriptors) {
    message.msg_control = bytes_.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(head), descriptors.data(), descriptors.size_bytes());
  }

 private:
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMost * sizeof(int))> bytes_{};
};

}  // namespace

SendResult send_some(int socket, std::string_view bytes, std::size_t* sent) {
  return meaning_of_sent(
      quiet([&] { return ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT); }), sent);
}

SendResult send_some(int socket, std::span<const std::string_view> given, std::size_t* sent) {
  // A few bytes are copied into one buffer: the kernel takes longer to walk a list of pieces.
  constexpr std::size_t kFew = 2048;
  std::size_t size = 0;
  for (const std::string_view piece : given) size += piece.size();
  if (size <= kFew) {
    std::array<char, kFew> bytes;  // NOLINT: filled below
    char* at = bytes.data();
    for (const std::string_view piece : given) at = std::copy(piece.begin(), piece.end(), at);
    return send_some(socket, std::string_view(bytes.data(), size), sent);
  }
  std::array<iovec, kMostPieces> pieces;  // NOLINT: filled below
  std::size_t count = 0;
  for (const std::string_view piece : given.first(std::min(given.size(), kMostPieces)))
    if (!piece.empty()) pieces[count++] = {const_cast<char*>(piece.data()), piece.size()};
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = count;
  return send_some(socket, message, sent);
}

SendResult send_some(int socket, std::string_view bytes, int descriptor, std::size_t* sent) {
  iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  Rights<1> rights;
  rights.attach(message, {&descriptor, 1});
  return send_some(socket, message, sent);
}

namespace {

ReadResult meaning_of(ssize_t taken, std::size_t* got) {
  *got = 0;
  if (taken > 0) {
    *got = static_cast<std::size_t>(taken);
    return ReadResult::some;
  }
  if (taken == 0 || errno == ECONNRESET) return ReadResult::end;
  if (errno == EAGAIN) return ReadResult::later;
  throw SystemError(errno, "receive on socket");
}

}  // namespace

ReadResult receive_some(int socket, std::span<char> into, std::size_t* got) {
  return meaning_of(quiet([&] { return ::recv(socket, into.data(), into.size(), MSG_DONTWAIT); }), got);
}

ReadResult receive_some(int socket, std::span<char> into, std::size_t* got, Passed& passed) {
  iovec piece{into.data(), into.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control;  // NOLINT: filled by the kernel
  message.msg_control = control.data();
  message.msg_controllen = CMSG_LEN(sizeof(int));  // CMSG_SPACE would have room for two
  const auto result =
      meaning_of(quiet([&] { return ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC); }), got);
  if (result != ReadResult::some) return result;
  const cmsghdr* const head = CMSG_FIRSTHDR(&message);
  if (head != nullptr && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS &&
      head->cmsg_len >= CMSG_LEN(sizeof(int))) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(head), sizeof fd);
    passed = {UniqueFd(fd)};
  } else if ((message.msg_flags & MSG_CTRUNC) != 0) {
    passed = {{}, true};
  }
  return result;
}

std::size_t bytes_waiting(int socket) noexcept {
  int count = 0;
  return ::ioctl(socket, FIONREAD, &count) == 0 && count > 0 ? static_cast<std::size_t>(count) : 0;
}

UniqueFd bind_datagrams_at(const Directory& directory, const std::string& name) {
  UniqueFd socket = make_socket(SOCK_DGRAM);
  const auto subject = [&] { return directory.path() + "/" + name; };
  const int on = 1;
  // Set before the socket has a name, so that the kernel adds a sender to every datagram.
  sys("ask for senders at", subject,
      [&] { return ::setsockopt(socket.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on); });
  const sockaddr_un address = address_of(directory.short_path(name));
  sys("bind", subject,
      [&] { return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address); });
  return socket;
}

std::optional<UniqueFd> connect_datagrams_to(const Directory& directory, const std::string& name,
                                             std::size_t largest) {
  UniqueFd socket = make_socket(SOCK_DGRAM);
  const sockaddr_un address = address_of(directory.short_path(name));
  const int result = quiet(
      [&] { return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address); });
  if (result != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTSOCK || errno == EPROTOTYPE)
      return std::nullopt;
    throw SystemError(errno, "connect to '" + directory.path() + "/" + name + "'");
  }
  if (largest_datagram(socket.get()) < largest) {
    const int wanted = static_cast<int>(largest);  // the kernel doubles it, up to its own limit
    (void)::setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
  }
  return socket;
}

std::size_t largest_datagram(int socket) {
  constexpr int kKernelsOwn = 32;  // af_unix takes sk_sndbuf less this
  int buffer = 0;
  socklen_t size = sizeof buffer;
  if (::getsockopt(socket, SOL_SOCKET, SO_SNDBUF, &buffer, &size) != 0 || buffer <= kKernelsOwn) return 0;
  return static_cast<std::size_t>(buffer - kKernelsOwn);
}

namespace {

constexpr std::size_t kDescriptorsAtOnce = 2;

}  // namespace

PutResult put_datagram(int socket, std::string_view bytes, std::span<const int> descriptors) {
  assert(descriptors.size() <= kDescriptorsAtOnce);
  iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  Rights<kDescriptorsAtOnce> rights;
  if (!descriptors.empty()) rights.attach(message, descriptors);
  if (quiet([&] { return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT); }) >= 0)
    return PutResult::done;
  switch (errno) {
    case EAGAIN:
      return PutResult::later;
    case ECONNREFUSED:
    case ECONNRESET:
    case ENOTCONN:
    case ENOENT:
    case EPIPE:
      return PutResult::gone;
    default:
      throw SystemError(errno, "send a datagram of " + std::to_string(bytes.size()) + " bytes");
  }
}

std::optional<Datagram> take_datagram(int socket, std::span<char> into) {
  iovec piece{into.data(), into.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(kDescriptorsAtOnce * sizeof(int))>
      control{};
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t size =
      quiet([&] { return ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC); });
  if (size < 0) {
    if (errno == EAGAIN) return std::nullopt;
    throw SystemError(errno, "receive a datagram");
  }
  Datagram datagram;
  datagram.size = static_cast<std::size_t>(size);
  datagram.bytes = std::string_view(into.data(), std::min(datagram.size, into.size()));
  datagram.descriptors_lost = (message.msg_flags & MSG_CTRUNC) != 0;
  datagram.descriptors.reserve(kDescriptorsAtOnce);
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr; head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET) continue;
    if (head->cmsg_type == SCM_RIGHTS) {
      for (std::size_t at = CMSG_LEN(0); at + sizeof(int) <= head->cmsg_len; at += sizeof(int)) {
        int fd = -1;
        std::memcpy(&fd, reinterpret_cast<const char*>(head) + at, sizeof fd);
        datagram.descriptors.emplace_back(fd);
      }
    } else if (head->cmsg_type == SCM_CREDENTIALS && head->cmsg_len >= CMSG_LEN(sizeof(ucred))) {
      ucred sender{};
      std::memcpy(&sender, CMSG_DATA(head), sizeof sender);
      datagram.sender = PeerIdentity{sender.pid, sender.uid};
    }
  }
  return datagram;
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

std::string UnnamedSocket::address() const {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(place.get());
}

UnnamedSocket bind_unnamed_datagrams() {
  constexpr mode_t kForAll = 0666;  // the descriptor decides who reaches it
  const std::string name = "socket";
  const std::string path = make_private_directory(runtime_directory(), "ipcm-");
  UnnamedSocket made;
  try {
    const Directory directory(path);
    made.socket = bind_datagrams_at(directory, name);
    const std::string file = directory.short_path(name);
    sys("set the mode of", path, [&] { return ::chmod(file.c_str(), kForAll); });
    made.place =
        UniqueFd(sys("open", path, [&] { return ::open(file.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC); }));
  } catch (...) {
    (void)::unlink((path + "/" + name).c_str());
    (void)::rmdir(path.c_str());
    throw;
  }
  (void)::unlink((path + "/" + name).c_str());
  (void)::rmdir(path.c_str());
  return made;
}

bool is_port_open(unsigned port) noexcept {
  const auto connects = [](int family, const auto& address) {
    const UniqueFd socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return false;
    const int result = quiet(
        [&] { return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address); });
    if (result == 0) return true;
    if (errno != EINPROGRESS) return false;
    // Between two sockets of one machine, the outcome is there already.
    pollfd one{socket.get(), POLLOUT, 0};
    int error = 0;
    socklen_t size = sizeof error;
    return quiet([&] { return ::poll(&one, 1, 0); }) == 1 &&
           ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
  };
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(static_cast<std::uint16_t>(port));
  four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = four.sin_port;
  six.sin6_addr = in6addr_loopback;
  return connects(AF_INET, four) || connects(AF_INET6, six);
}

}  // namespace ipcm::os
