#include "transport/presence/peer_locks.h"

#include <chrono>

#include "os/events.h"
#include "os/time_limit.h"
#include "transport/presence/lock_file.h"

namespace ipcm::transport {

std::string lock_file_of(const std::string& disk_name) { return "." + disk_name + ".lock"; }

bool is_lock_of_peer(std::string_view name) {
  constexpr std::string_view kEnd = ".lock";
  return name.size() > 1 + kEnd.size() && name.starts_with('.') && name.ends_with(kEnd);
}

namespace {

std::optional<std::string> holder_of_a_lock(const os::Directory& directory) {
  constexpr std::string_view kEnd = ".lock";
  for (const std::string& name : directory.names()) {
    if (!is_lock_of_peer(name)) continue;
    const LockFacts lock = look_at_lock(directory, name);
    if (lock.held && !lock.is_held_for_clearing() && !lock.by_us)
      return name.substr(1, name.size() - 1 - kEnd.size());
  }
  return std::nullopt;
}

/// The time for a peer that is leaving, or finds that it cannot join any more: a few system calls.
constexpr std::chrono::seconds kLeavingTime{2};

}  // namespace

std::optional<std::string> living_peer(const os::Directory& directory, bool endpoints) {
  const auto stays = [&](const std::optional<std::string>& peer) {
    return !peer || (endpoints && directory.look(*peer).kind != os::FileKind::none);
  };
  auto peer = holder_of_a_lock(directory);
  if (stays(peer)) return peer;
  const os::Deadline deadline = os::limited(kLeavingTime);
  os::DirectoryWatch watch(directory.short_path("."), os::DirectoryWatch::Of::contents);
  while (!stays(peer = holder_of_a_lock(directory)) && watch.await(deadline))
    watch.read([](std::string_view) {});
  return peer;
}

}  // namespace ipcm::transport
