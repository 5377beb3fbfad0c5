#include "transport/presence/own_place.h"

#include <sys/epoll.h>

#include <utility>

namespace ipcm::transport {
namespace {

constexpr std::chrono::seconds kShortLife{1};

}  // namespace

OwnPlace::OwnPlace(Loop& loop, const os::Directory& directory, std::vector<std::string> files, Say lost,
                   Say report)
    : loop_(loop),
      directory_(directory),
      removal_(directory, std::move(files)),
      lost_(std::move(lost)),
      beginning_(loop, std::move(report), [this] { begin(); }),
      watch_(loop.at(os::Clock::now() + kShortLife, [this] { begin(); })) {}

void OwnPlace::begin() {
  watch_.stop();
  if (!beginning_.attempt([this] { removal_.begin(directory_); })) return;
  watch_ = loop_.watch(removal_.fd(), EPOLLIN, [this](std::uint32_t) { look(); });
  look();
}

void OwnPlace::look() {
  const std::string file = removal_.removed(directory_);
  if (file.empty()) return;
  watch_.stop();
  const std::string path = file == "." ? directory_.path() : directory_.path() + "/" + file;
  lost_("its place on the bus is gone: '" + path +
        "' was removed, moved or replaced by somebody else; start it again on a bus that is there");
}

}  // namespace ipcm::transport
