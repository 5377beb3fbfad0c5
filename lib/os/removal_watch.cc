#include "os/removal_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "os/sys.h"

namespace ipcm::os {

RemovalWatch::RemovalWatch(const Directory& directory, std::vector<std::string> names)
    : real_path_(directory.real_path()) {
  for (std::string& name : names) {
    const FileFacts facts = directory.look(name);
    files_.push_back({std::move(name), facts.device, facts.inode});
  }
}

void RemovalWatch::begin(const Directory& directory) {
  UniqueFd fd(sys("watch", directory.path(), [] { return ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK); }));
  const auto path_of = [&](const std::string& name) { return directory.path() + "/" + name; };
  const auto add = [&](const std::string& name, std::uint32_t events) {
    return ::inotify_add_watch(fd.get(), directory.short_path(name).c_str(), events);
  };
  directory_watch_ =
      sys("watch", directory.path(), [&] { return add(".", IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR); });
  for (const File& file : files_) {
    // If a name of an open file is removed, the kernel reports a change of its number of links. A name that
    // is already gone needs no watch.
    if (add(file.name, IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF) < 0 && errno != ENOENT)
      throw SystemError(errno, "watch '" + path_of(file.name) + "'");
  }
  moved_ = directory.real_path() != real_path_;
  fd_ = std::move(fd);
}

std::string RemovalWatch::removed(const Directory& directory) {
  if (!fd_) moved_ = directory.real_path() != real_path_;
  alignas(inotify_event) std::array<char, 4096> buffer{};
  while (fd_) {
    const ssize_t got = quiet([&] { return ::read(fd_.get(), buffer.data(), buffer.size()); });
    if (got <= 0) break;
    for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      if (event.wd == directory_watch_ && (event.mask & (IN_MOVE_SELF | IN_DELETE_SELF)) != 0) moved_ = true;
      at += sizeof event + event.len;
    }
  }
  for (const File& file : files_) {
    const FileFacts facts = directory.look(file.name);
    if (facts.kind == FileKind::none || facts.device != file.device || facts.inode != file.inode)
      return file.name;
  }
  return moved_ ? "." : "";
}

}  // namespace ipcm::os
