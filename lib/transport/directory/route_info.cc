#include "transport/directory/route_info.h"

#include "ipcm/error.h"
#include "os/directory.h"
#include "transport/directory/companion.h"

namespace ipcm::transport {
namespace {

constexpr const char* kInfoFile = Companion::kInfoFile;

/// Where the note about a route is; empty: nowhere.
std::string place_of(const std::string& path) {
  if (!path.starts_with('/')) return {};
  switch (os::look_at(path).kind) {
    case os::FileKind::directory:
      return path;
    case os::FileKind::regular: {
      const std::string companion = Companion::path_of(path);
      return os::look_at(companion).kind == os::FileKind::directory ? companion : std::string();
    }
    default:
      return {};
  }
}

}  // namespace

void note_route_info(const BusInfo& info) {
  std::optional<Companion> companion;
  if (os::look_at(info.route).kind == os::FileKind::regular)
    companion.emplace(info.route);  // made if need be
  const std::string place = place_of(info.route);
  if (place.empty()) return;
  constexpr unsigned kPrivate = 0600;
  os::Directory(place).write_file(kInfoFile, info.text(), kPrivate);
}

std::optional<BusInfo> read_route_info(const std::string& path) {
  const std::string place = place_of(path);
  if (place.empty()) return std::nullopt;
  const os::Directory directory(place);
  if (const auto text = directory.read_file(kInfoFile)) {
    BusInfo info = BusInfo::parse(*text);
    info.route = path;  // it may have been moved, or be seen from elsewhere
    return info;
  }
  if (place != path) return std::nullopt;
  return BusInfo{"ConnectionUnix", "JSON", path, {}, {}};
}

bool has_route_info(const std::string& path) {
  const std::string place = place_of(path);
  return !place.empty() && os::look_at(place + "/" + kInfoFile).kind == os::FileKind::regular;
}

}  // namespace ipcm::transport
