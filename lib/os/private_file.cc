#include "os/private_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdlib>
#include <memory>

#include "os/descriptor.h"
#include "os/pipe.h"
#include "os/sys.h"

namespace ipcm::os {

std::string make_private_file(const std::string& parent, const std::string& prefix,
                              const std::string& suffix) {
  std::string path = parent + "/" + prefix + "XXXXXX" + suffix;
  const UniqueFd file(sys("make file", path, [&] {
    return ::mkostemps(path.data(), static_cast<int>(suffix.size()), O_CLOEXEC);
  }));
  return path;
}

void ensure_private_directory(const std::string& path) {
  constexpr mode_t kPrivate = 0700;
  if (::mkdir(path.c_str(), kPrivate) == 0) return;
  const int error = errno;
  struct stat facts {};
  if (error == EEXIST && ::lstat(path.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode)) return;
  throw SystemError(error, "make directory '" + path + "'");
}

bool remove_file(const std::string& path) noexcept {
  return ::unlink(path.c_str()) == 0 || errno == ENOENT;
}

std::string real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr), &std::free);
  return real ? std::string(real.get()) : path;
}

std::string process_numbering() {
  std::string text;
  const UniqueFd file(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  constexpr std::size_t kLongest = 64;
  if (file) text = read_all(file.get(), kLongest, "boot id");
  while (text.ends_with('\n')) text.pop_back();
  std::array<char, kLongest> space{};
  const ssize_t size = ::readlink("/proc/self/ns/pid", space.data(), space.size());
  if (size > 0) text.append(" ").append(space.data(), static_cast<std::size_t>(size));
  return text;
}

}  // namespace ipcm::os
