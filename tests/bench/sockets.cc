#include "bench/sockets.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <stdexcept>
#include <vector>

#include "bench/bench.h"

namespace ipcm::bench {
namespace {

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw std::runtime_error("the path is too long");
  std::copy(path.begin(), path.end(), std::begin(address.sun_path));
  return address;
}

}  // namespace

os::UniqueFd listen_at(const std::string& path) {
  os::UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = address_of(path);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(socket.get(), SOMAXCONN) != 0)
    throw std::runtime_error("can't listen at " + path);
  return socket;
}

os::UniqueFd accept_at(int listener) {
  return os::UniqueFd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
}

os::UniqueFd connect_at(const std::string& path) {
  os::UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = address_of(path);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw std::runtime_error("can't connect to " + path);
  return socket;
}

void write_whole(int fd, const char* bytes, std::size_t size) {
  while (size > 0) {
    const auto sent = ::send(fd, bytes, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) throw std::runtime_error("the other side hung up");
    bytes += sent;
    size -= static_cast<std::size_t>(sent);
  }
}

bool read_whole(int fd, char* into, std::size_t size) {
  while (size > 0) {
    const auto got = ::recv(fd, into, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    into += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

void serve_echo(const std::string& path, std::size_t size) {
  const auto listener = listen_at(path);
  ready();
  const auto caller = accept_at(listener.get());
  std::vector<char> bytes(size);
  while (read_whole(caller.get(), bytes.data(), size)) write_whole(caller.get(), bytes.data(), size);
}

void serve_epoll_echo(const std::string& path) {
  const auto listener = listen_at(path);
  const os::UniqueFd set(::epoll_create1(EPOLL_CLOEXEC));
  const auto add = [&](int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (::epoll_ctl(set.get(), EPOLL_CTL_ADD, fd, &event) != 0) throw std::runtime_error("epoll_ctl");
  };
  add(listener.get());
  ready();
  std::vector<os::UniqueFd> callers;
  std::array<epoll_event, 64> events{};
  std::array<char, 4096> bytes{};
  for (;;) {
    const int count = ::epoll_wait(set.get(), events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == listener.get()) {
        add(callers.emplace_back(accept_at(fd)).get());
        continue;
      }
      const auto got = ::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (got > 0)
        write_whole(fd, bytes.data(), static_cast<std::size_t>(got));
      else if (got == 0)
        (void)::epoll_ctl(set.get(), EPOLL_CTL_DEL, fd, nullptr);
    }
  }
}

}  // namespace ipcm::bench
