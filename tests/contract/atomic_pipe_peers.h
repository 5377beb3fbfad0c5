#pragma once

// Peers of AtomicPipe that behave like the reference, and the parts of messages that they write.

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>

#include "foreign.h"
#include "os/descriptor.h"

namespace ipcm::test {

inline constexpr std::size_t kMiB = 1024UL * 1024;
/// The number of bytes of a message in one part.
inline constexpr std::size_t kData = 4080;

[[nodiscard]] inline std::string bytes_of(std::initializer_list<std::uint32_t> numbers) {
  std::string bytes;
  for (const std::uint32_t number : numbers) {
    std::array<char, 4> four{};
    std::memcpy(four.data(), &number, four.size());
    bytes.append(four.data(), four.size());
  }
  return bytes;
}
[[nodiscard]] inline std::string part(Pid pid, std::uint32_t thread, std::uint32_t number,
                                      const std::string& data) {
  return bytes_of(
             {static_cast<std::uint32_t>(pid), thread, number, static_cast<std::uint32_t>(data.size())}) +
         data;
}
[[nodiscard]] inline std::string part(std::uint32_t number, const std::string& data) {
  return part(::getpid(), 0, number, data);
}
[[nodiscard]] inline std::string single(const std::string& content) {
  return part(0, wire_message(R"("from":"raw","content":)" + content));
}

/// A writer like that of the reference. It writes its argument in one call.
class Raw {
 public:
  Raw(const BusInfo& bus, const std::string& peer)
      : pipe_(::open((bus.route + "/" + peer).c_str(), O_WRONLY | O_CLOEXEC)) {
    REQUIRE(pipe_.get() >= 0);
  }
  void write(const std::string& bytes) {
    REQUIRE(::write(pipe_.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }
  /// Writes a message in parts.
  void write_message(const std::string& message, std::uint32_t thread = 0) {
    const std::size_t parts = (message.size() + kData - 1) / kData;
    for (std::size_t i = 0; i < parts; ++i)
      write(part(::getpid(), thread, static_cast<std::uint32_t>(parts - 1 - i),
                 message.substr(i * kData, kData)));
  }

 private:
  os::UniqueFd pipe_;
};

struct Part {
  std::uint32_t pid = 0, thread = 0, number = 0;
  std::string data;
};

/// A reader like that of the reference.
class ForeignPeer {
 public:
  ForeignPeer(const BusInfo& bus, const std::string& name) : bus_(bus), name_(name) {
    const std::string path = bus.route + "/" + name;
    REQUIRE(::mkfifo(path.c_str(), 0700) == 0);
    pipe_ = os::UniqueFd(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
    REQUIRE(pipe_.get() >= 0);
    announce_foreign(bus, name, ::getpid());
  }
  ~ForeignPeer() {
    if (pipe_) remove_foreign(bus_, name_);
  }
  ForeignPeer(ForeignPeer&&) = default;
  Part hear() {
    const std::string head = read(16);
    Part one;
    std::uint32_t size = 0;
    std::memcpy(&one.pid, head.data(), 4);
    std::memcpy(&one.thread, head.data() + 4, 4);
    std::memcpy(&one.number, head.data() + 8, 4);
    std::memcpy(&size, head.data() + 12, 4);
    REQUIRE(size <= kData);
    one.data = read(size);
    return one;
  }
  [[nodiscard]] bool heard_nothing() const {
    pollfd look{pipe_.get(), POLLIN, 0};
    return ::poll(&look, 1, 0) == 0;
  }

 private:
  [[nodiscard]] std::string read(std::size_t size) const {
    std::string bytes(size, '\0');
    for (std::size_t at = 0; at < size;) {
      REQUIRE(readable(pipe_.get()));
      const auto got = ::read(pipe_.get(), bytes.data() + at, size - at);
      REQUIRE(got > 0);
      at += static_cast<std::size_t>(got);
    }
    return bytes;
  }
  BusInfo bus_;
  std::string name_;
  os::UniqueFd pipe_;
};

}  // namespace ipcm::test
