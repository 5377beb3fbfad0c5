#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "os/descriptor.h"

namespace ipcm::os {

// Memory that two processes share: a file without a name, made by one process, whose descriptor goes to the
// other. Its size is sealed, so that no process gets SIGBUS because the other one has shortened the file. A
// page takes memory once it is reserved or touched.

/// Makes such a file. `name` shows in /proc. Throws SystemError.
[[nodiscard]] UniqueFd make_shared_memory_file(const char* name, std::size_t size);
/// Checks a descriptor that came from another process. Throws ProtocolError unless it is such a file, of that
/// size.
void expect_shared_memory_file(int fd, std::size_t size);
/// Reserves memory for a part of it now. Returns false if there is none, which would otherwise be a SIGBUS
/// later.
[[nodiscard]] bool reserve_memory(int fd, std::size_t offset, std::size_t size) noexcept;
/// Returns the memory of a part to the kernel; its bytes are 0 from then on. `offset` and `size` are in whole
/// pages.
void give_back_memory(int fd, std::size_t offset, std::size_t size) noexcept;

/// Maps a part of a file into this process for its lifetime; the descriptor may be closed earlier. Threads:
/// as a plain array. A forked child does not have the mapping: bytes() is empty there.
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
