#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ipcm {

/// An ordered list of functions: the common part of CallbackList and QuestionList. A function may change the
/// list that calls it; the change takes effect at the next call of the list.
template <class Result, class... Args>
class FunctionList {
 public:
  using Callback = std::function<Result(Args...)>;
  using Id = std::uint64_t;

  /// Adds a function at the end. Returns its id for remove().
  Id push(Callback callback) {
    entries_.push_back({++last_id_, std::make_shared<Callback>(std::move(callback))});
    return last_id_;
  }
  /// Adds a function at the front. Returns its id for remove().
  Id unshift(Callback callback) {
    entries_.insert(entries_.begin(), Entry{++last_id_, std::make_shared<Callback>(std::move(callback))});
    return last_id_;
  }
  /// Removes a function. Returns false if the list does not have it.
  bool remove(Id id) {
    return std::erase_if(entries_, [id](const Entry& entry) { return entry.id == id; }) > 0;
  }
  void clear() { entries_.clear(); }
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 protected:
  struct Entry {
    Id id;
    std::shared_ptr<Callback> callback;  // shared: a callback has one state, also in copies of the list
  };
  std::vector<Entry> entries_;

 private:
  Id last_id_ = 0;
};

/// A list of functions; a call of the list calls them one after the other.
template <class... Args>
class CallbackList : public FunctionList<void, Args...> {
 public:
  void operator()(Args... args) const {
    const auto now = this->entries_;
    for (const auto& entry : now) (*entry.callback)(args...);
  }
};

/// A list of functions; a call of the list calls them one after the other, until one returns true.
template <class... Args>
class QuestionList : public FunctionList<bool, Args...> {
 public:
  [[nodiscard]] bool operator()(Args... args) const {
    const auto now = this->entries_;
    return std::any_of(now.begin(), now.end(), [&](const auto& entry) { return (*entry.callback)(args...); });
  }
};

}  // namespace ipcm
