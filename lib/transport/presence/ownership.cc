#include "transport/presence/ownership.h"

#include "os/directory.h"
#include "transport/presence/lock_file.h"

namespace ipcm::transport {
namespace {

class LockOwnership final : public Ownership {
 public:
  LockOwnership(const std::string& directory, const std::string& file)
      : directory_(directory), lock_(HeldLock::replace(directory_, file, "")) {}
  void release() noexcept override { lock_.release(directory_); }

 private:
  os::Directory directory_;
  HeldLock lock_;
};

}  // namespace

std::unique_ptr<Ownership> own_by_lock(const std::string& directory, const std::string& file) {
  return std::make_unique<LockOwnership>(directory, file);
}

OwnerFacts owner_by_lock(const std::string& directory, const std::string& file) {
  if (os::look_at(directory).kind != os::FileKind::directory) return {};
  const LockFacts facts = look_at_lock(os::Directory(directory), file);
  return {facts.exists, facts.held, facts.held ? facts.pid : 0};
}

}  // namespace ipcm::transport
