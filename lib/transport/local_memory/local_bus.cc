#include "transport/local_memory/local_bus.h"

#include <algorithm>
#include <atomic>

#include "ipcm/error.h"
#include "os/descriptor.h"

namespace ipcm::transport {
namespace {

struct Buses {
  std::uint32_t generation = os::generation();
  Buses* of_parent = nullptr;  // before a fork: never touched again, and not destroyed
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<LocalBus>> by_route;
};

Buses& buses() {
  static std::atomic<Buses*> all{new Buses};
  Buses* current = all.load();
  if (current->generation == os::generation()) return *current;
  auto fresh = std::make_unique<Buses>();
  fresh->of_parent = current;
  // Two threads of the child may be the first here at once.
  if (all.compare_exchange_strong(current, fresh.get())) return *fresh.release();
  return *current;
}

}  // namespace

LocalBus::Registration* LocalBus::find(const std::string& name) const {
  const auto found = std::find_if(registrations.begin(), registrations.end(), [&](const auto& registration) {
    return !registration->name.empty() && registration->name == name;
  });
  return found == registrations.end() ? nullptr : found->get();
}

void LocalBus::tell_watchers() const {
  for (const auto& registration : registrations) {
    if (!registration->watches) continue;
    registration->peers_changed = true;
    registration->wake.notify();
  }
}

void add_local_bus(const std::string& route) {
  Buses& all = buses();
  const std::lock_guard<std::mutex> guard(all.mutex);
  if (!all.by_route.try_emplace(route, std::make_shared<LocalBus>()).second)
    throw BusError("no bus can be made: this process has one named '" + route + "' already");
}

std::shared_ptr<LocalBus> find_local_bus(const std::string& route) {
  Buses& all = buses();
  const std::lock_guard<std::mutex> guard(all.mutex);
  const auto found = all.by_route.find(route);
  return found == all.by_route.end() ? nullptr : found->second;
}

void remove_local_bus(const std::string& route) noexcept {
  std::shared_ptr<LocalBus> bus;
  {
    Buses& all = buses();
    const std::lock_guard<std::mutex> guard(all.mutex);
    const auto found = all.by_route.find(route);
    if (found == all.by_route.end()) return;
    bus = std::move(found->second);
    all.by_route.erase(found);
  }
  const std::lock_guard<std::mutex> guard(bus->mutex);
  bus->removed = true;
  bus->tell_watchers();
  for (const auto& registration : bus->registrations) registration->wake.notify();
}

}  // namespace ipcm::transport
