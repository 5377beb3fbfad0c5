#include "transport/presence/mark_file.h"

#include "ipcm/error.h"

namespace ipcm::transport {

bool has_mark(const os::Directory& directory) {
  const os::FileFacts mark = directory.look(kMarkFile);
  return mark.kind == os::FileKind::regular && directory.is_trusted(mark);
}

void close_mark(const os::Directory& directory) {
  if (directory.look(kMarkFile).kind != os::FileKind::none) directory.rename(kMarkFile, kClosedMarkFile);
}

void reopen_mark(const os::Directory& directory) {
  if (directory.look(kClosedMarkFile).kind != os::FileKind::none)
    directory.rename(kClosedMarkFile, kMarkFile);
}

void expect_private(const std::string& path, const os::FileFacts& facts) {
  if (facts.owner != os::own_user() && os::own_user() != 0)
    throw BusError("the bus at '" + path + "' belongs to user " + std::to_string(facts.owner) +
                   ", not to us");
  constexpr unsigned kOthersWrite = 022;
  if ((facts.mode & kOthersWrite) != 0)
    throw BusError(
        "the bus at '" + path +
        "' is refused: other users can write to that directory, and take any peer's place (chmod go-w)");
}

}  // namespace ipcm::transport
