#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "os/descriptor.h"

namespace ipcm::os {

/// A log of at most two files: PATH, and PATH.1 with the older part. When PATH has grown too large, it is
/// copied to PATH.1 and emptied. So processes that have it open for appending go on in the same file.
class RollingLog {
 public:
  static constexpr std::uint64_t kLargest = 1024UL * 1024;
  /// A process that can't check the size before each write, such as a service that prints, begins a new file
  /// earlier.
  static constexpr std::uint64_t kFull = kLargest * 3 / 4;
  static constexpr const char* kOlder = ".1";

  /// Opens a log for appending, and makes it with mode 0600 if needed. Throws SystemError, also if the path
  /// is no file of this user.
  [[nodiscard]] static UniqueFd open(const std::string& path);

  RollingLog() = default;
  explicit RollingLog(UniqueFd file) : file_(std::move(file)) {}
  [[nodiscard]] explicit operator bool() const { return static_cast<bool>(file_); }
  [[nodiscard]] int fd() const { return file_.get(); }
  [[nodiscard]] int release() { return file_.release(); }
  /// Begins a new file if this one has more than `most` bytes. If the older part can't be kept, it is
  /// dropped: the log stays bounded.
  void roll_beyond(std::uint64_t most) const noexcept;
  /// Appends all bytes, in a new file if they would not fit. Ignores failures: a log is no reason to end.
  void append(std::string_view bytes) const noexcept;

 private:
  UniqueFd file_;
};

/// Makes a directory of mode 0700, and missing ones above it. Throws SystemError, also if the path is no
/// private directory of this user.
void make_private_path(const std::string& path);

}  // namespace ipcm::os
