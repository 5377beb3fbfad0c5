#include "os/removal_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "os/sys.h"

namespace ipcm::os {

RemovalWatch::RemovalWatch(const Directory& directory, std::vector<std::string> names)
    : fd_(sys("watch", directory.path(), [] { return ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK); })) {
  const auto add = [&](const std::string& name, std::uint32_t events) {
    const std::string path = directory.short_path(name);
    return sys(
        "watch", [&] { return directory.path() + "/" + name; },
        [&] { return ::inotify_add_watch(fd_.get(), path.c_str(), events); });
  };
  directory_watch_ = add(".", IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
  for (std::string& name : names) {
    // The removal of a name of an open file shows as a change of its number of links.
    (void)add(name, IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF);
    const FileFacts facts = directory.look(name);
    files_.push_back({std::move(name), facts.device, facts.inode});
  }
}

std::string RemovalWatch::removed(const Directory& directory) {
  bool moved = false;
  alignas(inotify_event) std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t got = quiet([&] { return ::read(fd_.get(), buffer.data(), buffer.size()); });
    if (got <= 0) break;
    for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      if (event.wd == directory_watch_ && (event.mask & (IN_MOVE_SELF | IN_DELETE_SELF)) != 0) moved = true;
      at += sizeof event + event.len;
    }
  }
  for (const File& file : files_) {
    const FileFacts facts = directory.look(file.name);
    if (facts.kind == FileKind::none || facts.device != file.device || facts.inode != file.inode)
      return file.name;
  }
  return moved ? "." : "";
}

}  // namespace ipcm::os
