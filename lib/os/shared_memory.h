#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "os/descriptor.h"

namespace ipcm::os {

// Memory that two processes have in common: a file without a name, made by one, whose descriptor goes to the
// other. Its size is sealed for ever, so that nobody who has it mapped can be hit by SIGBUS because the other
// one cut it short. Pages are there once they are reserved, or touched.

/// `name` shows in /proc. Throws SystemError.
[[nodiscard]] UniqueFd make_shared_memory_file(const char* name, std::size_t size);
/// For one that came from outside: throws ProtocolError unless it is such a file, of that size.
void expect_shared_memory_file(int fd, std::size_t size);
/// Has the kernel find memory for a part of it now, where running out is an answer (false) and not a SIGBUS.
[[nodiscard]] bool reserve_memory(int fd, std::size_t offset, std::size_t size) noexcept;
/// Gives the memory of a part back; its bytes are 0 from then on. `offset` and `size` in whole pages.
void give_back_memory(int fd, std::size_t offset, std::size_t size) noexcept;

/// A part of a file as memory of this process, for as long as it lives; the descriptor may be closed before.
/// Threads: as a plain array. A forked child does not have it: bytes() is empty there.
class Mapping {
 public:
  enum class Access { read, read_write };
  Mapping() = default;
  /// `offset` is a multiple of the page size. Throws SystemError.
  Mapping(int fd, std::size_t offset, std::size_t size, Access access);
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping() { reset(); }

  [[nodiscard]] std::span<char> bytes() const noexcept {
    return born_ == generation() ? bytes_ : std::span<char>();
  }

 private:
  void reset() noexcept;

  std::span<char> bytes_;
  std::uint32_t born_ = 0;
};

}  // namespace ipcm::os
