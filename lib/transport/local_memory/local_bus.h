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

// The buses of this process, by their routes. Members belong to the threads of their loops, so the lock of
// a bus protects everything in it; a member that changes something for another member wakes the loop of
// that one.
//
// A forked child has none of these buses: it starts with an empty list, and does not touch a lock that
// another thread of its parent may have held.

struct LocalBus {
  /// One member.
  struct Registration {
    std::string name;  // empty: anonymous, not listed
    PeerNote note;
    os::WakeUp wake;
    std::deque<Message> arrived;
    std::size_t bytes = 0;  // in `arrived`
    bool watches = false;
    bool peers_changed = false;
  };

  std::mutex mutex;
  std::vector<std::shared_ptr<Registration>> registrations;
  std::map<std::string, Statistics> statistics;
  std::map<std::string, std::vector<Message>> put_back;  // for the next member of that name
  OwnerFacts owner;
  bool removed = false;

  // With the lock held:
  [[nodiscard]] Registration* find(const std::string& name) const;
  void tell_watchers() const;
};

/// Adds a bus. Throws BusError if the route is taken.
void add_local_bus(const std::string& route);
/// Returns the bus; null: there is none.
[[nodiscard]] std::shared_ptr<LocalBus> find_local_bus(const std::string& route);
void remove_local_bus(const std::string& route) noexcept;

}  // namespace ipcm::transport
