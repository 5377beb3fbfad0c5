#include "service/descriptor_watches.h"

#include <sys/epoll.h>

#include <utility>
#include <vector>

#include "ipcm/error.h"

namespace ipcm::service {
namespace {

std::uint32_t events_of(Readiness wanted) {
  switch (wanted) {
    case Readiness::readable:
      return EPOLLIN;
    case Readiness::writable:
      return EPOLLOUT;
    case Readiness::both:
      return EPOLLIN | EPOLLOUT;
    case Readiness::none:
      break;
  }
  return 0;
}

}  // namespace

void DescriptorWatches::set(int fd, Readiness wanted, std::function<void()> callback) {
  if (wanted == Readiness::none) return forget(fd);
  if (!callback) throw UsageError("watch: a descriptor needs a callback");
  auto& entry = entries_[fd];
  if (entry == nullptr) {
    auto made = std::make_shared<Entry>();
    try {
      made->watch = loop_.watch(fd, events_of(wanted), [this, at = made.get()](std::uint32_t) { note(*at); });
    } catch (...) {
      entries_.erase(fd);
      throw;
    }
    entry = std::move(made);
  } else if (entry->events != events_of(wanted) || entry->rests) {
    entry->watch.want(events_of(wanted));
    entry->rests = false;
  }
  entry->events = events_of(wanted);
  entry->callback = std::move(callback);
}

void DescriptorWatches::note(Entry& entry) {
  if (!std::exchange(entry.due, true)) {
    ++due_;
  } else if (!std::exchange(entry.rests, true)) {
    entry.watch.want(0);  // a callback runs the loop underneath, which must be able to sleep
  }
}

void DescriptorWatches::forget(int fd) {
  const auto found = entries_.find(fd);
  if (found == entries_.end()) return;
  if (std::exchange(found->second->due, false)) --due_;
  found->second->watch.stop();
  entries_.erase(found);
}

void DescriptorWatches::run() {
  if (due_ == 0) return;
  std::vector<std::shared_ptr<Entry>> due;
  for (const auto& [fd, entry] : entries_)
    if (entry->due) due.push_back(entry);
  for (const auto& entry : due) {
    if (!std::exchange(entry->due, false)) continue;  // an earlier callback has ended it
    --due_;
    if (std::exchange(entry->rests, false)) entry->watch.want(entry->events);
    const auto callback = entry->callback;  // it may replace itself
    callback();
  }
}

}  // namespace ipcm::service
