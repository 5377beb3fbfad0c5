#include "os/buffer.h"

#include <algorithm>
#include <utility>

namespace ipcm::os {

Buffer::Buffer(std::size_t size) : bytes_(std::make_unique_for_overwrite<char[]>(size)), size_(size) {}

void Buffer::resize(std::size_t size, std::size_t kept) {
  Buffer other(size);
  std::copy_n(data(), kept, other.data());
  *this = std::move(other);
}

}  // namespace ipcm::os
