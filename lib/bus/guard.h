#pragma once

#include <memory>
#include <vector>

#include "bus/take_down.h"
#include "ipcm/bus.h"
#include "os/process.h"
#include "transport/transport.h"

namespace ipcm {

/// The bus that a Guard owns.
struct Guard::State {
  BusInfo info;
  SpawnOptions options;
  std::uint32_t born_in = 0;
  bool down = false;
  /// While it is held, members know that somebody will take the bus down.
  std::unique_ptr<transport::Ownership> owner;

  [[nodiscard]] bool acts_here() const;
  std::vector<Discrepancy> discrepancies;  ///< found when it was taken down
  std::vector<std::string> strangers;      ///< files in its directory that no bus has put there
  /// Throws what shutdown() throws.
  void report(const std::vector<bus::Stayed>& left) const;
  /// Returns those that would not leave. Throws Error; then the bus is not down, and the next call goes on.
  std::vector<bus::Stayed> take_down(const std::vector<os::Child*>& children);
  /// For destructors: the same, and if that fails the bus is removed all the same.
  void end_silently(const std::vector<os::Child*>& children) noexcept;
};

}  // namespace ipcm
