#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

namespace ipcm::os {

/// Memory for bytes, not initialised. Pages that are never written take no memory; a string or a vector would
/// fill them with zeros first.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t size);
  Buffer(Buffer&& other) noexcept : bytes_(std::move(other.bytes_)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    bytes_ = std::move(other.bytes_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  /// Changes the size. The first `kept` bytes stay; the others are not set.
  void resize(std::size_t size, std::size_t kept);
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] char* data() { return bytes_.get(); }
  [[nodiscard]] const char* data() const { return bytes_.get(); }
  [[nodiscard]] std::span<char> from(std::size_t begin) { return {data() + begin, size_ - begin}; }
  /// The caller must have set these bytes.
  [[nodiscard]] std::string_view view(std::size_t begin, std::size_t count) const {
    return {data() + begin, count};
  }

 private:
  std::unique_ptr<char[]> bytes_;
  std::size_t size_ = 0;
};

}  // namespace ipcm::os
