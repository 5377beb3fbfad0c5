#pragma once

#include <memory>
#include <vector>

#include "bus/take_down.h"
#include "ipcm/bus.h"
#include "os/child.h"
#include "transport/transport.h"

namespace ipcm {

/// The bus that a Guard owns.
struct Guard::State {
  BusInfo info;
  SpawnOptions options;
  std::uint32_t born_in = 0;
  bool down = false;
  /// The lock of the owner. While it is held, members know that the bus will be taken down.
  std::unique_ptr<transport::Ownership> owner;

  [[nodiscard]] bool acts_here() const;
  std::vector<Discrepancy> discrepancies;  ///< found when it was taken down
  std::vector<std::string> strangers;      ///< files in its directory that belong to no bus
  /// Throws as shutdown() does.
  void report(const std::vector<StayedPeer>& left) const;
  /// Returns the peers that did not leave. Throws Error; then the bus is not down, and the next call continues.
  std::vector<StayedPeer> take_down(const std::vector<os::Child*>& children);
  /// Throws UsageError unless this process owns the bus, and the bus is not down.
  void expect_owner() const;
  /// Removes the bus unless a peer of this library is on it.
  void remove();
  /// The bus was removed: nothing is left to own.
  void note_removed(std::vector<std::string> left_files);
  /// As take_down(), for destructors: removes the bus even if that fails.
  void end_silently(const std::vector<os::Child*>& children) noexcept;
};

}  // namespace ipcm
