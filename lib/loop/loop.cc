#include "loop/loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "ipcm/error.h"
#include "os/process.h"

namespace ipcm {

struct Watch::Entry {
  int fd = -1;  // -1: a timer
  os::Clock::time_point when{};
  bool waited_for = true;  // in the epoll set
  Loop::Callback callback;
};

struct Watch::State {
  static constexpr std::uint64_t kTimerId = 0;

  using Entries = std::unordered_map<std::uint64_t, Entry>;

  os::EventSet events;
  Entries entries;
  // A callback may end its own Watch, which would destroy the running function: entries that end while a
  // callback runs are kept here until none runs.
  std::vector<Entries::node_type> ended;
  unsigned running = 0;
  std::multimap<os::Clock::time_point, std::uint64_t> timers;
  // Used by a loop whose descriptor another loop waits for, or that runs many turns while a timer is pending.
  // A loop with few turns passes the time of its next timer to each epoll_wait(): that costs less than
  // making, arming and disarming a timer descriptor.
  std::optional<os::TimerFd> timer;
  bool wants_timer_fd = false;
  unsigned waits_by_the_clock = 0;
  std::uint64_t last_id = kTimerId;
  std::uint64_t turns = 0;

  void arm() {
    if (!wants_timer_fd) return;
    if (timer && timer->fd() < 0) return;  // it belongs to the process that forked this one
    if (timers.empty()) {
      if (timer) timer->disarm();
      return;
    }
    if (!timer) {
      try {
        os::TimerFd made;
        events.add(made.fd(), EPOLLIN, kTimerId);
        timer.emplace(std::move(made));
      } catch (const SystemError&) {
        return;  // no descriptor is free: turn() watches the clock until one is
      }
    }
    timer->arm(timers.begin()->first);
  }

  [[nodiscard]] bool has_only_the_clock() const { return !timers.empty() && !timer; }

  void use_timer_fd() {
    if (!std::exchange(wants_timer_fd, true)) arm();
  }

  void remove(std::uint64_t id) {
    const auto found = entries.find(id);
    if (found == entries.end()) return;
    if (found->second.fd >= 0) {
      if (found->second.waited_for) events.remove(found->second.fd);
    } else {
      const auto [first, last] = timers.equal_range(found->second.when);
      for (auto at = first; at != last; ++at)
        if (at->second == id) {
          const bool was_next = at == timers.begin();
          timers.erase(at);
          if (was_next) arm();
          break;
        }
    }
    if (running > 0)
      ended.push_back(entries.extract(found));
    else
      entries.erase(found);
  }

  /// Marks a scope in which callbacks run; they may run the loop.
  class Running {
   public:
    explicit Running(State& state) : state_(state) { ++state_.running; }
    ~Running() {
      if (--state_.running == 0 && !state_.ended.empty()) std::exchange(state_.ended, {}).clear();
    }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

   private:
    State& state_;
  };

  void run(std::uint64_t id, std::uint32_t what) {
    const auto found = entries.find(id);
    if (found == entries.end()) return;  // an earlier callback has ended it
    found->second.callback(what);
  }

  void run_timers() {
    if (timer) timer->acknowledge();
    const auto now = os::Clock::now();
    // One at a time: a callback may run the loop and wait there for the next timer.
    while (!timers.empty() && timers.begin()->first <= now) {
      const std::uint64_t id = timers.begin()->second;
      timers.erase(timers.begin());
      arm();
      const auto found = entries.find(id);
      if (found == entries.end()) continue;
      const auto entry = entries.extract(found);
      entry.mapped().callback(0);
    }
  }
};

Watch::Watch(Watch&& other) noexcept : loop_(std::move(other.loop_)), id_(std::exchange(other.id_, 0)) {}

Watch& Watch::operator=(Watch&& other) noexcept {
  if (this != &other) {
    stop();
    loop_ = std::move(other.loop_);
    id_ = std::exchange(other.id_, 0);
  }
  return *this;
}

void Watch::stop() noexcept {
  if (id_ == 0) return;
  if (const auto loop = loop_.lock()) loop->remove(id_);
  id_ = 0;
  loop_.reset();
}

void Watch::want(std::uint32_t events) {
  const auto loop = loop_.lock();
  if (!loop) return;
  const auto found = loop->entries.find(id_);
  if (found == loop->entries.end() || found->second.fd < 0) return;
  Entry& entry = found->second;
  // An empty set of events is not enough: epoll reports hang-ups and errors in any case, again and again.
  if (events == 0 && entry.waited_for)
    loop->events.remove(entry.fd);
  else if (events != 0 && entry.waited_for)
    loop->events.change(entry.fd, events, id_);
  else if (events != 0)
    loop->events.add(entry.fd, events, id_);
  entry.waited_for = events != 0;
}

Loop::Loop() : state_(std::make_shared<Watch::State>()) {}
Loop::~Loop() = default;

Watch Loop::watch(int fd, std::uint32_t events, Callback callback) {
  const std::uint64_t id = ++state_->last_id;
  if (events != 0) state_->events.add(fd, events, id);
  state_->entries.emplace(id, Watch::Entry{fd, {}, events != 0, std::move(callback)});
  return {state_, id};
}

Watch Loop::at(os::Clock::time_point when, std::function<void()> callback) {
  const std::uint64_t id = ++state_->last_id;
  state_->entries.emplace(
      id, Watch::Entry{-1, when, true, [call = std::move(callback)](std::uint32_t) { call(); }});
  Watch watch(state_, id);  // if a step below fails, it removes the entry
  const bool is_next = state_->timers.empty() || when < state_->timers.begin()->first;
  state_->timers.emplace(when, id);
  if (is_next) state_->arm();
  return watch;
}

bool Loop::turn(os::Deadline deadline) {
  constexpr std::size_t kAtOnce = 64;
  std::array<epoll_event, kAtOnce> ready;  // NOLINT: the kernel fills what is counted
  std::size_t count = 0;
  constexpr unsigned kFewWaits = 16;
  if (state_->has_only_the_clock() && ++state_->waits_by_the_clock > kFewWaits) state_->use_timer_fd();
  if (state_->has_only_the_clock())
    deadline = std::min(deadline, os::Deadline::at(state_->timers.begin()->first));
  if (spin_ > Duration::zero() && found_) count = look_again(ready, deadline);
  if (count == 0) count = state_->events.wait(ready, deadline);
  const bool is_due = state_->has_only_the_clock() && state_->timers.begin()->first <= os::Clock::now();
  found_ = count > 0 || is_due;
  if (!found_) return false;
  ++state_->turns;
  const auto keep = state_;  // a callback may destroy the loop's owner
  const Watch::State::Running running(*keep);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t id = ready[i].data.u64;
    if (id == Watch::State::kTimerId)
      keep->run_timers();
    else
      keep->run(id, ready[i].events);
  }
  if (is_due) keep->run_timers();
  return true;
}

void Loop::run_due_timers() {
  if (state_->timers.empty() || state_->timers.begin()->first > os::Clock::now()) return;
  const auto keep = state_;
  const Watch::State::Running running(*keep);
  keep->run_timers();
}

std::size_t Loop::look_again(std::span<epoll_event> ready, os::Deadline deadline) const {
  const auto until = std::min(os::Deadline::after(spin_), deadline);
  do {
    if (const std::size_t count = state_->events.wait(ready, os::Deadline::passed())) return count;
    os::let_others_run();  // the sender may need this very processor
  } while (!until.has_passed());
  return 0;
}

void Loop::spin(Duration longest) {
  // With a single processor, the sender could not run meanwhile.
  spin_ = longest > Duration::zero() && os::usable_processors() > 1 ? longest : Duration::zero();
}

void Loop::nudge() {
  nudge_ = at(os::Clock::now(), [] {});
}

int Loop::fd() const {
  state_->use_timer_fd();
  return state_->events.fd();
}
std::uint64_t Loop::turns() const { return state_->turns; }

}  // namespace ipcm
