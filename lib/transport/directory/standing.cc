#include "transport/directory/standing.h"

#include <algorithm>
#include <cctype>

#include "ipcm/error.h"
#include "os/events.h"
#include "os/time_limit.h"
#include "transport/presence/disk_name.h"
#include "transport/presence/entries.h"
#include "transport/presence/lock_file.h"
#include "transport/presence/mark_file.h"

namespace ipcm::transport {
namespace {

using os::FileKind;
using Is = Standing::Is;

const EndpointKinds& any_endpoint() {
  static const EndpointKinds kinds = {FileKind::socket, FileKind::fifo, FileKind::regular,
                                      FileKind::directory};
  return kinds;
}

std::string last_part(const std::string& path) { return path.substr(path.rfind('/') + 1); }

bool is_there(const os::Directory& directory, const std::string& name) {
  return directory.look(name).kind == FileKind::regular;
}

/// Returns whether there are files side by side that only joining and leaving peers make.
bool shows_a_peer(const os::Directory& directory, const std::string& endpoint) {
  const bool stands = directory.look(endpoint).kind != FileKind::none;
  const bool has_pid = is_there(directory, endpoint + ".pid");
  return (stands && (has_pid || is_there(directory, "." + endpoint + ".lock"))) ||
         (has_pid && is_there(directory, endpoint + ".stats"));
}

/// Returns the name of the endpoint that a file stands beside.
std::string peer_of(const std::string& name) { return name.substr(0, name.rfind('.')); }

/// The contents of a directory, without regard to a mark.
struct Contents {
  std::string stranger;  ///< an entry that no bus has put there
  bool has_visible = false, has_marks = false, has_peer = false;
};

Contents contents_of(const os::Directory& directory) {
  Contents contents;
  for (const std::string& name : directory.names()) {
    const EntryRole role = role_of_entry(name);
    if (!is_known_entry(directory, name, any_endpoint())) {
      contents.stranger = name;
      continue;
    }
    contents.has_marks |= role == EntryRole::mark;
    contents.has_visible |= !name.starts_with('.');
    if (role == EntryRole::endpoint) contents.has_peer |= shows_a_peer(directory, name);
    if (role == EntryRole::beside) contents.has_peer |= shows_a_peer(directory, peer_of(name));
  }
  return contents;
}

std::optional<BusInfo> read_mark(const os::Directory& directory, const char* file) {
  const auto text = directory.read_note(file);
  if (!text) return std::nullopt;
  try {
    return BusInfo::parse(*text);
  } catch (const ProtocolError&) {
    return std::nullopt;  // a file of the user with that name
  }
}

/// A mark may have been copied with other files, the bus moved, or its directory mounted in another
/// container.
Standing of_marked(const os::Directory& directory, BusInfo info, Is is) {
  Standing standing{is, {}, std::move(info), is_there(directory, kFoundFile), false};
  const os::FileFacts here = directory.facts(), named = os::look_at(standing.info->route);
  standing.is_proven =
      named.kind == FileKind::directory && named.device == here.device && named.inode == here.inode;
  if (standing.is_proven) return standing;
  if (named.kind == FileKind::directory && has_mark(os::Directory(standing.info->route)))
    return {Is::no_bus,
            "its mark '" + std::string(kMarkFile) + "' is that of '" + standing.info->route + "'",
            {},
            {},
            {}};
  const Contents contents = contents_of(directory);
  if (!contents.stranger.empty())
    return {Is::no_bus,
            "its mark '" + std::string(kMarkFile) + "' names '" + standing.info->route + "', and '" +
                contents.stranger + "' in it is no file of a bus",
            {},
            {},
            {}};
  standing.is_proven = true;
  return standing;
}

}  // namespace

Standing standing_of(const os::Directory& directory) {
  if (auto info = read_mark(directory, kMarkFile)) return of_marked(directory, std::move(*info), Is::ours);
  if (auto info = read_mark(directory, kClosedMarkFile))
    return of_marked(directory, std::move(*info), Is::closed);
  const Contents contents = contents_of(directory);
  if (is_made_name(last_part(directory.real_path()), "PerlIPCManager-"))
    return {Is::reference, {}, {}, false, true};
  if (!contents.stranger.empty())
    return {Is::no_bus,
            "it has no mark of ours, and '" + contents.stranger + "' in it is no file of a bus",
            {},
            {},
            {}};
  if (contents.has_marks) return {Is::unfinished, {}, {}, is_there(directory, kFoundFile), false};
  if (contents.has_visible) return {Is::reference, {}, {}, false, contents.has_peer};
  constexpr unsigned kOthers = 077;
  if ((directory.facts().mode & kOthers) != 0)
    return {Is::no_bus, "it is empty, and open to other users", {}, {}, {}};
  return {Is::empty, {}, {}, false, false};
}

bool expect_bus(const os::Directory& directory) {
  if (has_mark(directory)) return true;
  const std::string begin = "there is no bus at '" + directory.path() + "': ";
  const Standing standing = standing_of(directory);
  switch (standing.is) {
    case Is::ours:
    case Is::reference:
    case Is::empty:
      return false;
    case Is::closed:
      throw BusError(begin + "it is being taken down");
    case Is::unfinished:
      throw BusError(begin + "it was not finished; `ipcm bus gc` removes what a killed command has left");
    case Is::no_bus:
      break;
  }
  throw BusError(begin + standing.why_not + "; `ipcm bus new` makes one");
}

std::string likely_protocol(const os::Directory& directory) {
  for (const std::string& name : directory.names()) {
    if (!DiskNames::may_be_endpoint(name)) continue;
    const FileKind kind = directory.look(name).kind;
    if (kind == FileKind::fifo) return "AtomicPipe";
    if (kind == FileKind::directory) return "MessageFiles";
  }
  return "ConnectionUnix";
}

}  // namespace ipcm::transport
