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
  /// Throws what shutdown() throws.
  void report(const std::vector<bus::Stayed>& left) const;
  /// Those that would not leave.
  std::vector<bus::Stayed> take_down(const std::vector<os::Child*>& children);
};

}  // namespace ipcm
