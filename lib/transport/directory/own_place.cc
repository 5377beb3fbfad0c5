#include "transport/directory/own_place.h"

#include <sys/epoll.h>

#include <utility>

namespace ipcm::transport {

OwnPlace::OwnPlace(Loop& loop, const os::Directory& directory, std::vector<std::string> files,
                   std::function<void(const std::string& why)> lost)
    : directory_(directory), removal_(directory, std::move(files)), lost_(std::move(lost)) {
  watch_ = loop.watch(removal_.fd(), EPOLLIN, [this](std::uint32_t) {
    const std::string file = removal_.removed(directory_);
    if (file.empty()) return;
    watch_.want(0);
    const std::string path = file == "." ? directory_.path() : directory_.path() + "/" + file;
    lost_("its place on the bus is gone: '" + path +
          "' was removed, moved or replaced by somebody else; start it again on a bus that is there");
  });
}

}  // namespace ipcm::transport
