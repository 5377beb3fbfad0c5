#include "transport/bus_note.h"

#include "ipcm/error.h"
#include "os/directory.h"
#include "transport/directory/standing.h"
#include "transport/file/sidecar.h"
#include "transport/presence/entries.h"
#include "transport/presence/mark_file.h"

namespace ipcm::transport {
namespace {

/// Returns the directory with the note about a route; empty: there is none.
std::string place_of(const std::string& path) {
  if (!path.starts_with('/')) return {};
  switch (os::look_at(path).kind) {
    case os::FileKind::directory:
      return path;
    case os::FileKind::regular: {
      const std::string sidecar = Sidecar::path_of(path);
      return os::look_at(sidecar).kind == os::FileKind::directory ? sidecar : std::string();
    }
    default:
      return {};
  }
}

}  // namespace

void note_route_info(const BusInfo& info) {
  std::optional<Sidecar> sidecar;
  const os::FileKind kind = os::look_at(info.route).kind;
  if (kind == os::FileKind::regular) sidecar.emplace(info.route);  // made if need be
  const std::string place = kind == os::FileKind::directory ? info.route : place_of(info.route);
  if (place.empty()) return;
  const os::Directory directory(place);
  if (has_mark(directory)) return;  // the user named an existing bus
  constexpr unsigned kPrivate = 0600;
  directory.write_file(kMarkFile, info.text(), kPrivate);
}

void forget_route_info(const std::string& path) noexcept {
  try {
    const std::string place = place_of(path);
    if (place.empty()) return;
    const os::Directory directory(place);
    for (const std::string& name : directory.names())
      if (role_of_entry(name) == EntryRole::mark && !look_at_lock(directory, name).held)
        (void)remove_known_entry(directory, name, {});
    if (place != path) (void)os::remove_empty_directory(place);
  } catch (const Error&) {
    // The files stay; `bus rm` and the next attempt remove them.
  }
}

namespace {

/// A bus of the reference, which has no mark.
std::optional<BusInfo> unmarked(const os::Directory& directory, const std::string& path) {
  (void)expect_bus(directory);
  // An empty directory can be joined by its info string; it is not recognised as a bus.
  if (standing_of(directory).is != Standing::Is::reference) return std::nullopt;
  return BusInfo{likely_protocol(directory), "JSON", path, {}, {}};
}

}  // namespace

std::optional<BusInfo> read_route_info(const std::string& path) {
  const std::string place = place_of(path);
  if (place.empty()) return std::nullopt;
  const os::Directory directory(place);
  auto text = directory.read_note(kMarkFile);
  if (!text) text = directory.read_note(kClosedMarkFile);  // a removal is under way: its mark was renamed
  if (!text) return place == path ? unmarked(directory, path) : std::nullopt;
  try {
    BusInfo info = BusInfo::parse(*text);
    info.route = path;  // it may have been moved, or be mounted elsewhere
    return info;
  } catch (const ProtocolError&) {
    return place == path ? unmarked(directory, path) : std::nullopt;
  }
}

std::optional<BusInfo> read_mark_of(const std::string& path) {
  return has_route_info(path) ? read_route_info(path) : std::nullopt;
}

bool has_route_info(const std::string& path) {
  const std::string place = place_of(path);
  return !place.empty() && os::look_at(place + "/" + kMarkFile).kind == os::FileKind::regular;
}

}  // namespace ipcm::transport
