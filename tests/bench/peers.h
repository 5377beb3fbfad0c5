#pragma once

// Other libraries for requests and answers, each in a file that is built if the library was found.

#include <functional>
#include <string>
#include <vector>

namespace ipcm::bench {

struct PeerLibrary {
  const char* name;
  /// Answers each request with itself, at `path`, forever. Calls ready() first.
  void (*serve)(const std::string& path);
  /// Returns a function that sends one request of `size` bytes and waits for the answer.
  std::function<void()> (*ask)(const std::string& path, std::size_t size);
  bool serves_many = true;  ///< serves several callers at once
};

extern const PeerLibrary kZeromq, kNng, kSdBus;
/// Returns the libraries that this build has.
[[nodiscard]] std::vector<const PeerLibrary*> peer_libraries();
[[nodiscard]] const PeerLibrary& peer_library(const std::string& name);

/// One-way messages over ZeroMQ: PUSH sends `count` messages of `size` bytes, PULL receives them.
void zeromq_push(const std::string& path, std::size_t count, std::size_t size);
std::function<void()> zeromq_pull(const std::string& path);

}  // namespace ipcm::bench
