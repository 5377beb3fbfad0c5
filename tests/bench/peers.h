#pragma once

// Others who ask and answer, each in a file of its own that is built where its library was found.

#include <functional>
#include <string>
#include <vector>

namespace ipcm::bench {

struct PeerLibrary {
  const char* name;
  /// Answers each request with itself, at `path`, for ever; calls ready().
  void (*serve)(const std::string& path);
  /// What asks once and waits, with `size` bytes.
  std::function<void()> (*ask)(const std::string& path, std::size_t size);
  bool serves_many = true;  ///< callers at once
};

extern const PeerLibrary kZeromq, kNng, kSdBus;
/// Those that this build has.
[[nodiscard]] std::vector<const PeerLibrary*> peer_libraries();
[[nodiscard]] const PeerLibrary& peer_library(const std::string& name);

/// One-way over ZeroMQ's PUSH and PULL: sends `count` messages of `size` bytes; receives them.
void zeromq_push(const std::string& path, std::size_t count, std::size_t size);
std::function<void()> zeromq_pull(const std::string& path);

}  // namespace ipcm::bench
