#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace ipcm {

/// Functions that are called one after the other. A callback may change the list it is called from; the
/// change counts from the next call on.
template <class... Args>
class CallbackList {
 public:
  using Callback = std::function<void(Args...)>;
  using Id = std::uint64_t;

  /// At the end; returns what remove() takes.
  Id push(Callback callback) {
    entries_.push_back({++last_id_, std::move(callback)});
    return last_id_;
  }
  /// At the front.
  Id unshift(Callback callback) {
    entries_.insert(entries_.begin(), Entry{++last_id_, std::move(callback)});
    return last_id_;
  }
  /// False: it was not there.
  bool remove(Id id) {
    return std::erase_if(entries_, [id](const Entry& entry) { return entry.id == id; }) > 0;
  }
  void clear() { entries_.clear(); }
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

  void operator()(Args... args) const {
    const auto now = entries_;
    for (const Entry& entry : now) entry.callback(args...);
  }

 private:
  struct Entry {
    Id id;
    Callback callback;
  };
  std::vector<Entry> entries_;
  Id last_id_ = 0;
};

}  // namespace ipcm
