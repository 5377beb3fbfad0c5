#include "os/shared_memory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "ipcm/error.h"
#include "os/signals.h"
#include "os/sys.h"

namespace ipcm::os {

UniqueFd make_shared_memory_file(const char* name, std::size_t size) {
  UniqueFd file(sys("make memory file (memfd_create)", name,
                    [&] { return ::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING); }));
  {
    QuietWrites quiet_writes;
    const int resized = quiet([&] { return ::ftruncate(file.get(), static_cast<off_t>(size)); });
    if (resized != 0) quiet_writes.note(errno);
    if (resized != 0) throw SystemError(errno, std::string("size memory file '") + name + "'");
  }
  sys("seal memory file", name,
      [&] { return ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW); });
  return file;
}

void expect_shared_memory_file(int fd, std::size_t size) {
  constexpr int kNeeded = F_SEAL_SHRINK | F_SEAL_GROW;
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kNeeded) != kNeeded)
    throw ProtocolError("it is no memory file whose size is sealed");
  // Files of huge pages can be sealed, too; but if huge pages run out, a read ends in SIGBUS.
  struct statfs system {};
  sys("look at", "memory file", [&] { return ::fstatfs(fd, &system); });
  if (system.f_type != TMPFS_MAGIC) throw ProtocolError("it is a memory file of another kind");
  struct stat facts {};
  sys("look at", "memory file", [&] { return ::fstat(fd, &facts); });
  if (static_cast<std::uint64_t>(facts.st_size) != size)
    throw ProtocolError("it has " + std::to_string(facts.st_size) + " bytes, not " + std::to_string(size));
}

bool reserve_memory(int fd, std::size_t offset, std::size_t size) noexcept {
  return quiet([&] {
           return ::fallocate(fd, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(size));
         }) == 0;
}

void give_back_memory(int fd, std::size_t offset, std::size_t size) noexcept {
  (void)quiet([&] {
    return ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                       static_cast<off_t>(size));
  });
}

Mapping::Mapping(int fd, std::size_t offset, std::size_t size, Access access) : born_(generation()) {
  const int protection = access == Access::read ? PROT_READ : PROT_READ | PROT_WRITE;
  void* const at = ::mmap(nullptr, size, protection, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (at == MAP_FAILED) throw SystemError(errno, "map a memory file");
  bytes_ = {static_cast<char*>(at), size};
  (void)::madvise(at, size, MADV_DONTFORK);
}

Mapping::Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})), born_(other.born_) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    reset();
    bytes_ = std::exchange(other.bytes_, {});
    born_ = other.born_;
  }
  return *this;
}

void Mapping::reset() noexcept {
  // In a forked child, other memory may be mapped there by now.
  if (const auto mapped = bytes(); !mapped.empty()) ::munmap(mapped.data(), mapped.size());
  bytes_ = {};
}

}  // namespace ipcm::os
