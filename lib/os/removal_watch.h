#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "os/descriptor.h"
#include "os/directory.h"

namespace ipcm::os {

/// Reports when names in a directory lead to other files than they did when this object was made, or when the
/// directory itself is moved or removed. This also holds for files that this process has open. The kernel
/// does not report a directory's own removal while a descriptor of it is open, so name a file in it, too.
class RemovalWatch {
 public:
  /// Stores the files that the names lead to. Throws SystemError.
  RemovalWatch(const Directory& directory, std::vector<std::string> names);
  /// Starts the kernel's watch: from now on fd() becomes readable. May be called again after it has thrown
  /// SystemError. The watch has a price: a user has few of them (128 by default), and the kernel takes ten
  /// milliseconds or more to end one, longer than a short-lived service runs.
  void begin(const Directory& directory);
  /// Returns the first of the names that is gone or leads elsewhere ("." for the directory), or an empty text
  /// if nothing has changed. Call it once after begin(), and whenever fd() became readable; without begin(),
  /// at any time.
  [[nodiscard]] std::string removed(const Directory& directory);
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  struct File {
    std::string name;
    std::uint64_t device = 0, inode = 0;
  };
  std::string real_path_;  // of the directory, at first
  UniqueFd fd_;
  std::vector<File> files_;
  int directory_watch_ = -1;
  bool moved_ = false;  // the directory
};

}  // namespace ipcm::os
