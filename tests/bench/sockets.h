#pragma once

// The floor of the benchmarks: bare stream sockets with only the code that a question needs.

#include <string>
#include <string_view>

#include "os/descriptor.h"

namespace ipcm::bench {

[[nodiscard]] os::UniqueFd listen_at(const std::string& path);
[[nodiscard]] os::UniqueFd accept_at(int listener);
[[nodiscard]] os::UniqueFd connect_at(const std::string& path);
void write_whole(int fd, const char* bytes, std::size_t size);
/// Reads `size` bytes. Returns false at the end of the stream.
bool read_whole(int fd, char* into, std::size_t size);

/// Returns `size` bytes at a time to one caller, with blocking calls, until it leaves.
void serve_echo(const std::string& path, std::size_t size);
/// Returns small messages to any number of callers at once.
void serve_epoll_echo(const std::string& path);

}  // namespace ipcm::bench
