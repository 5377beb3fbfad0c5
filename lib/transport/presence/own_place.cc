#include "transport/presence/own_place.h"

#include <sys/epoll.h>

#include <utility>

namespace ipcm::transport {

OwnPlace::OwnPlace(Loop& loop, const os::Directory& directory, std::vector<std::string> files, Lost lost)
    : loop_(loop), directory_(directory), removal_(directory, std::move(files)), lost_(std::move(lost)) {}

void OwnPlace::watch() {
  if (watch_) return;
  removal_.begin(directory_);
  watch_ = loop_.watch(removal_.fd(), EPOLLIN, [this](std::uint32_t) { look(); });
  look();
}

void OwnPlace::look() {
  if (!lost_) return;
  const std::string file = removal_.removed(directory_);
  if (file.empty()) return;
  watch_.want(0);
  const std::string path = file == "." ? directory_.path() : directory_.path() + "/" + file;
  const Lost lost = std::exchange(lost_, {});
  lost("its place on the bus is gone: '" + path +
       "' was removed, moved or replaced by another process; start it again on a bus that is there");
}

}  // namespace ipcm::transport
