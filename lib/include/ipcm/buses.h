#pragma once

// Finds, examines and removes buses that other processes have made. ipcm/bus.h makes one.
//
//     for (const ipcm::BusStatus& bus : ipcm::list_buses().buses)
//       std::printf("%s: %zu peers\n", bus.info.route.c_str(), bus.peers.size());

#include <exception>
#include <optional>
#include <string>
#include <vector>

#include "ipcm/basics.h"
#include "ipcm/bus_info.h"
#include "ipcm/spawn_options.h"
#include "ipcm/stop.h"

namespace ipcm {

/// Returns the info of the bus at a path, as its files tell it; nullopt: there is nothing. For buses in the file
/// system; a bus on a server has no path. Throws BusError for a path that is no bus, and SystemError.
[[nodiscard]] std::optional<BusInfo> bus_at(const std::string& path);

/// The process that has to take a bus down (Guard).
struct BusOwner {
  enum class State {
    none,       ///< The bus has no owner: it stays until somebody removes it.
    alive,      ///< The owner runs.
    elsewhere,  ///< The owner runs in another pid namespace, or its pid is unknown.
    dead,       ///< The owner has died: the bus is abandoned.
  };
  State state = State::none;
  Pid pid = 0;  ///< alive: its process id.
};
/// Returns the owner of a bus; does not join the bus. Throws BusError, and SystemError.
[[nodiscard]] BusOwner bus_owner(const BusInfo& info);

/// A bus, its owner and its peers.
struct BusStatus {
  BusInfo info;
  BusOwner owner;
  std::vector<std::string> peers;  ///< Their names, sorted.
  /// A process removes it, or died while it did so. Nobody can join it; owner and peers are unknown.
  bool is_being_removed = false;
};
/// Joins a bus for a moment, unseen by its peers, and returns its status. Throws BusError if there is no such bus,
/// and SystemError.
[[nodiscard]] BusStatus bus_status(const BusInfo& info);

/// The buses of this user in $XDG_RUNTIME_DIR, $TMPDIR and /tmp.
struct BusList {
  std::vector<BusStatus> buses;  ///< Sorted by path.
  std::exception_ptr
      first_failure;  ///< The first BusError about a bus that can't be examined; null: there is none.
  /// Throws it.
  void expect_complete() const {
    if (first_failure) std::rethrow_exception(first_failure);
  }
};
/// Finds the buses of this user, those of the reference included, by their names. Follows no link, and leaves out
/// a bus with a name of its own, and a bus on a server. Throws SystemError where a directory can't be listed for
/// want of memory or descriptors.
[[nodiscard]] BusList list_buses();

/// The result of end_bus().
struct EndedBus {
  std::vector<StayedPeer> stayed;  ///< Peers that did not leave.
  bool is_removed = false;         ///< Nothing of the bus is left.
  std::string why_not;             ///< Why it is not removed.
  std::vector<std::string>
      foreign_files;  ///< Files that are not part of a bus: they stay, and so does the directory.
};
/// Ends all peers of a bus that anybody has made, and removes it. Uses patience, polite_time, term_time, signal and
/// hurry_fd of the options. Keeps the bus if a peer whose process can't be proven from here does not leave, since
/// nobody could end that peer afterwards. Continues a removal that was interrupted. Blocks for about
/// `options.patience`. Throws BusError if there is no such bus, and SystemError; then the next call continues.
[[nodiscard]] EndedBus end_bus(const BusInfo& info, const SpawnOptions& options = {});

/// The result of remove_abandoned_buses().
struct RemovedBuses {
  std::vector<std::string> paths;
  std::exception_ptr first_failure;  ///< As in BusList.
  /// Throws it.
  void expect_complete() const {
    if (first_failure) std::rethrow_exception(first_failure);
  }
};
/// Removes the buses of list_buses() whose owner is dead and that have no peers, and what killed processes have
/// left of a bus that they made or removed. Throws as list_buses() does.
[[nodiscard]] RemovedBuses remove_abandoned_buses();

}  // namespace ipcm
