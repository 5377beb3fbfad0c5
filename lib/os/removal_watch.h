#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "os/descriptor.h"
#include "os/directory.h"

namespace ipcm::os {

/// Tells when names in a directory lead to other files than they do now, or when the directory itself is
/// moved or removed. A file that its process holds open is no exception; a directory's own removal is not
/// reported while a descriptor of it is open, so name a file in it, too.
class RemovalWatch {
 public:
  /// Throws SystemError.
  RemovalWatch(const Directory& directory, std::vector<std::string> names);
  /// After fd() became readable: the first of the names that is gone or leads elsewhere ("." for the
  /// directory); empty: all is as it was.
  [[nodiscard]] std::string removed(const Directory& directory);
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  struct File {
    std::string name;
    std::uint64_t device = 0, inode = 0;
  };
  UniqueFd fd_;
  std::vector<File> files_;
  int directory_watch_ = -1;
};

}  // namespace ipcm::os
