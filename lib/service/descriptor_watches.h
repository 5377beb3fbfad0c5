#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "ipcm/service.h"
#include "loop/loop.h"

namespace ipcm::service {

/// The descriptors that a service watches for its own purposes: Service::watch(). The loop only notes which are
/// ready; run() calls back, in the service's turn.
class DescriptorWatches {
 public:
  explicit DescriptorWatches(Loop& loop) : loop_(loop) {}
  /// Begins, changes or ends (`none`) the watch on a descriptor.
  void set(int fd, Readiness wanted, std::function<void()> callback);
  /// Returns whether run() has something to do.
  [[nodiscard]] bool are_due() const { return due_ > 0; }
  void run();

 private:
  struct Entry {
    std::uint32_t events = 0;
    std::function<void()> callback;
    Watch watch;
    bool due = false;
    bool rests = false;  // the loop does not wait for it: it is due, and the loop would return at once
  };
  void note(Entry& entry);
  void forget(int fd);

  Loop& loop_;
  std::map<int, std::shared_ptr<Entry>> entries_;  // shared: a callback may end its own watch
  std::size_t due_ = 0;
};

}  // namespace ipcm::service
