#include "transport/directory/removal.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "ipcm/error.h"
#include "os/process.h"
#include "transport/directory/standing.h"
#include "transport/presence/lock_file.h"
#include "transport/presence/mark_file.h"
#include "transport/presence/peer_locks.h"

namespace ipcm::transport {
namespace {

using Is = Standing::Is;

Removal refused(std::string why) {
  Removal removal(false);
  removal.why = std::move(why);
  return removal;
}

/// Opens a bus; nullopt: it is gone. Throws SystemError, BusError.
std::optional<os::Directory> open_bus(const std::string& path) {
  if (os::look_at(path).kind == os::FileKind::none) return std::nullopt;
  os::Directory directory(path);
  expect_private(path, directory.facts());
  return directory;
}

/// Returns why the bus must not be removed; empty: it may be.
std::string why_not_removed(const Standing& standing, const BusInfo& info) {
  switch (standing.is) {
    case Is::no_bus:
      return "it is no bus: " + standing.why_not;
    case Is::empty:
      return "it is no bus: it has no mark of ours, and nothing is in it";
    case Is::unfinished:
      return {};
    case Is::reference:
      return standing.is_proven ? std::string()
                                : "it has no mark of ours, and no file in it proves that a peer was there";
    case Is::ours:
    case Is::closed:
      break;
  }
  if (standing.info->protocol == info.protocol) return {};
  return "it is a bus of protocol " + standing.info->protocol + ", not " + info.protocol;
}

Removal remove_opened(const os::Directory& directory, const BusInfo& info, const EndpointKinds& endpoints,
                      Living living) {
  const Standing standing = standing_of(directory);
  if (std::string why = why_not_removed(standing, info); !why.empty()) return refused(std::move(why));
  close_mark(directory);
  std::vector<std::string> names = directory.names();
  if (living == Living::spare && std::any_of(names.begin(), names.end(), is_lock_of_peer)) {
    std::optional<std::string> peer;
    try {
      peer = living_peer(directory, !endpoints.empty());
    } catch (...) {
      reopen_mark(directory);
      throw;
    }
    if (peer) {
      reopen_mark(directory);
      Removal removal = refused("'" + *peer + "' is on it");
      removal.living = *peer;
      return removal;
    }
  }
  // A peer of the reference that is just leaving may still write a file.
  constexpr int kRounds = 10;
  Removal removal(true);
  for (int round = 0; round < kRounds; ++round) {
    removal.left = remove_known_entries(directory, endpoints, std::move(names));
    if (standing.was_found || !removal.left.empty() || remove_emptied(directory)) return removal;
    names = directory.names();
    if (names.empty()) break;
  }
  removal.left = std::move(names);
  removal.is_gone = !removal.left.empty();
  if (!removal.is_gone) removal.why = "the empty directory can't be removed";
  return removal;
}

}  // namespace

Removal remove_bus_directory(const BusInfo& info, const EndpointKinds& endpoints, Living living) noexcept {
  try {
    const auto directory = open_bus(info.route);
    return directory ? remove_opened(*directory, info, endpoints, living) : Removal(true);
  } catch (const std::exception& error) {
    return refused(error.what());
  }
}

bool remove_unfinished_bus(const os::Directory& parent, const std::string& name) {
  const auto directory = os::Directory::below(parent, name);
  if (!directory) return false;
  const os::FileFacts facts = directory->facts();
  constexpr unsigned kOthers = 077;
  if (facts.owner != os::own_user() || (facts.mode & kOthers) != 0) return false;
  const Standing standing = standing_of(*directory);
  if (standing.is != Is::unfinished && standing.is != Is::empty) return false;
  std::vector<std::string> files = directory->names();
  for (const std::string& file : files)
    if (look_at_lock(*directory, file).held) return false;
  return remove_known_entries(*directory, {}, std::move(files)).empty() && remove_emptied(*directory);
}

}  // namespace ipcm::transport
