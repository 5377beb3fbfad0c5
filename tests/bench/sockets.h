#pragma once

// The floor of talking: stream sockets, with nothing but what the question needs.

#include <string>
#include <string_view>

#include "os/descriptor.h"

namespace ipcm::bench {

[[nodiscard]] os::UniqueFd listen_at(const std::string& path);
[[nodiscard]] os::UniqueFd accept_at(int listener);
[[nodiscard]] os::UniqueFd connect_at(const std::string& path);
void write_whole(int fd, const char* bytes, std::size_t size);
/// false: the end.
bool read_whole(int fd, char* into, std::size_t size);

/// Blocking: one caller, `size` bytes there and back, until it leaves.
void serve_echo(const std::string& path, std::size_t size);
/// Any number of callers at once, small messages.
void serve_epoll_echo(const std::string& path);

}  // namespace ipcm::bench
