#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ipcm {

/// Functions in an order of their own; what CallbackList and QuestionList share. A function may change the
/// list it is called from; the change counts from the next call on.
template <class Result, class... Args>
class FunctionList {
 public:
  using Callback = std::function<Result(Args...)>;
  using Id = std::uint64_t;

  /// At the end; returns what remove() takes.
  Id push(Callback callback) {
    entries_.push_back({++last_id_, std::make_shared<Callback>(std::move(callback))});
    return last_id_;
  }
  /// At the front.
  Id unshift(Callback callback) {
    entries_.insert(entries_.begin(), Entry{++last_id_, std::make_shared<Callback>(std::move(callback))});
    return last_id_;
  }
  /// False: it was not there.
  bool remove(Id id) {
    return std::erase_if(entries_, [id](const Entry& entry) { return entry.id == id; }) > 0;
  }
  void clear() { entries_.clear(); }
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 protected:
  struct Entry {
    Id id;
    std::shared_ptr<Callback> callback;  // shared, so that a copy of the list keeps a callback's own state
  };
  std::vector<Entry> entries_;

 private:
  Id last_id_ = 0;
};

/// Functions that are called one after the other.
template <class... Args>
class CallbackList : public FunctionList<void, Args...> {
 public:
  void operator()(Args... args) const {
    const auto now = this->entries_;
    for (const auto& entry : now) (*entry.callback)(args...);
  }
};

/// Functions that are asked one after the other, until one says yes.
template <class... Args>
class QuestionList : public FunctionList<bool, Args...> {
 public:
  [[nodiscard]] bool operator()(Args... args) const {
    const auto now = this->entries_;
    return std::any_of(now.begin(), now.end(), [&](const auto& entry) { return (*entry.callback)(args...); });
  }
};

}  // namespace ipcm
