#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "os/events.h"
#include "transport/transport.h"

namespace ipcm::transport {

// The buses of this process, by their routes. Members belong to the threads of their loops, so everything
// here is under the lock of its bus; who changes something for another member wakes its loop.
//
// A forked child has none of them: it starts with an empty list, without touching a lock that another thread
// of its parent may have held.

struct LocalBus {
  /// One member's place.
  struct Registration {
    std::string name;  // empty: anonymous, not listed
    std::string class_name;
    os::WakeUp wake;
    std::deque<Message> arrived;
    std::size_t bytes = 0;  // in `arrived`
    bool watches = false;
    bool peers_changed = false;
  };

  std::mutex mutex;
  std::vector<std::shared_ptr<Registration>> registrations;
  std::map<std::string, Statistics> statistics;
  std::map<std::string, std::vector<Message>> put_back;  // for the next of that name
  OwnerFacts owner;
  bool removed = false;

  // With the lock held:
  [[nodiscard]] Registration* find(const std::string& name) const;
  void tell_watchers() const;
};

/// Throws BusError for a route that is taken already.
void add_local_bus(const std::string& route);
/// Null: there is none.
[[nodiscard]] std::shared_ptr<LocalBus> find_local_bus(const std::string& route);
void remove_local_bus(const std::string& route) noexcept;

}  // namespace ipcm::transport
