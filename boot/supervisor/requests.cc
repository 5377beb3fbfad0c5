// The requests that a supervisor understands: status, start, stop, restart, subscribe; reload.cc has reload.

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "ipcm/error.h"
#include "launch/launch.h"
#include "service/diagnostic.h"
#include "service/service_runtime.h"
#include "supervisor/supervisor_service.h"
#include "wire/nearest.h"
#include "wire/printable.h"

namespace ipcm::supervisor {
namespace {

constexpr std::size_t kMostWaiters = 10'000, kMostSubscribers = 1'000;

struct Wish {
  std::optional<std::string> status, start, stop, restart;
  std::optional<bool> subscribe;
  std::optional<Content> reload;
  std::optional<std::map<std::string, std::uint64_t>> scale;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(optional("status", status), optional("start", start), optional("stop", stop),
            optional("restart", restart), optional("subscribe", subscribe), optional("reload", reload),
            optional("scale", scale));
  }
  [[nodiscard]] int count() const {
    return int{status.has_value()} + int{start.has_value()} + int{stop.has_value()} +
           int{restart.has_value()} + int{subscribe.has_value()} + int{reload.has_value()} +
           int{scale.has_value()};
  }
};

Wish read_wish(const Content& content) {
  if (!content.is_bytes() && content.json() == "\"status\"") return {"", {}, {}, {}, {}, {}, {}};
  constexpr const char* kForms =
      R"(; a request is "status", {"status":"NAME"}, {"start":"NAME"}, {"stop":"NAME"}, {"restart":"NAME"}, {"reload":ARGS}, {"scale":{"NAME":N}} or {"subscribe":true})";
  Wish wish;
  try {
    wish = content.as_strict<Wish>("the request");
  } catch (const Error& error) {
    throw UsageError(error.what() + std::string(kForms));
  }
  if (wish.count() != 1) throw UsageError(std::string("the request needs exactly one of its keys") + kForms);
  return wish;
}

}  // namespace

void SupervisorService::refuse(const Request& request, const std::string& why) {
  try {
    send_error(request, why);
  } catch (const Error& error) {
    service::complain(name(), std::string("an error could not be sent: ") + error.what());
  }
}

Answer SupervisorService::take_request(Request&& request) {
  // Errors go back as they are: they are about the request, and have no secrets.
  const Request address(request.id(), request.from(), {}, request.connection());
  try {
    return obey(std::move(request));
  } catch (const Error& error) {
    refuse(address, error.what());
    return later;
  }
}

Answer SupervisorService::obey(Request&& request) {
  const Wish wish = read_wish(request.raw());
  if (wish.status) return status_of(*wish.status);
  if (wish.subscribe) {
    if (!*wish.subscribe) return subscribers_.erase(request.from()) > 0;
    if (subscribers_.size() >= kMostSubscribers)
      throw UsageError("there are 1000 subscribers, the most that are possible");
    subscribers_.insert(request.from());
    return true;
  }
  if (!gave_up_.empty()) throw UsageError("supervisor '" + name() + "' has given up: " + gave_up_);
  if (waiters_.size() + reloads_.size() >= kMostWaiters) throw UsageError("10000 requests wait already");
  if (wish.reload || wish.scale) {
    if (wish.reload)
      reload(std::move(request), wish.reload->as_strict<Arguments>("the parameters"));
    else
      scale(std::move(request), *wish.scale);
    return later;
  }
  const std::size_t index = find(wish.start ? *wish.start : wish.stop ? *wish.stop : *wish.restart);
  const auto replicas = replicas_of(index);
  if (wish.stop) {
    auto all = with_dependents(definition_.nodes, index);
    for (const std::size_t replica : replicas) all[replica] = true;
    for (std::size_t i = 0; i < children_.size(); ++i)
      if (all[i]) stop(i, AfterStop::stays);
  } else {
    if (replicas.empty() || wish.start) order(index, wish.restart.has_value());
    for (const std::size_t replica : replicas) order(replica, wish.restart.has_value());
  }
  Waiter waiter{std::move(request), children_[index].get(), !wish.stop, {}};
  for (const std::size_t replica : replicas) waiter.replicas.push_back(children_[replica].get());
  waiters_.push_back(std::move(waiter));
  runtime().wake();
  return later;
}

/// Starts a child, or starts it again.
void SupervisorService::order(std::size_t index, bool is_restart) {
  if (!is_restart || !children_[index]->has_process()) return order_start(index);
  children_[index]->rest_until = {};
  stop(index, AfterStop::starts_again);
}

/// Returns the replicas if the child is a balancer.
std::vector<std::size_t> SupervisorService::replicas_of(std::size_t index) const {
  std::vector<std::size_t> replicas;
  if (!children_[index]->plan.is_balancer) return replicas;
  for (std::size_t i = 0; i < children_.size(); ++i)
    if (!children_[i]->plan.is_leaving && children_[i]->plan.balancer == children_[index]->plan.name)
      replicas.push_back(i);
  return replicas;
}

void SupervisorService::order_start(std::size_t index) {
  Child& child = *children_[index];
  child.rest_until = {};
  if (child.state == State::stopping || child.is_to_stop) {
    child.after_stop = AfterStop::starts_again;
  } else if (!child.has_process()) {
    child.timer.stop();
    child.state = State::waiting;
  }
}

std::size_t SupervisorService::find(const std::string& child) const {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < children_.size(); ++i) {
    if (children_[i]->plan.is_leaving) continue;
    if (children_[i]->plan.name == child) return i;
    names.push_back(children_[i]->plan.name);
  }
  throw UsageError("there is no service '" + wire::printable_name(child) + "'" +
                   wire::did_you_mean(child, names));
}

std::size_t SupervisorService::index_of(const Child& child) const {
  const auto found =
      std::find_if(children_.begin(), children_.end(), [&](const auto& one) { return one.get() == &child; });
  return static_cast<std::size_t>(found - children_.begin());
}

SupervisorService::Facts SupervisorService::facts_of(const Child& child) {
  Facts facts = {{"name", child.plan.name},
                 {"class", child.plan.class_name},
                 {"state", to_string(child.state)},
                 {"ready", child.is_up()},
                 {"restarts", child.restarts}};
  if (child.has_process()) facts["pid"] = launch_of(child)->first_pid();
  if (!child.last_end.empty()) facts["last_end"] = child.last_end;
  if (!child.next.empty()) facts["next"] = child.next;
  if (child.health && !child.health->last_failure().empty()) facts["health"] = child.health->last_failure();
  if (child.plan.is_balancer) facts["replicas"] = replicas_of(index_of(child)).size();
  if (child.state == State::waiting) facts["why"] = why_not_up(index_of(child));
  return facts;
}

Content SupervisorService::status_of(const std::string& child) {
  if (!child.empty()) return facts_of(*children_[find(child)]);
  std::vector<Facts> all;
  for (const std::size_t index : definition_.order) all.push_back(facts_of(*children_[index]));
  return all;
}

/// Returns why a child that waits can't start without a request; empty: it can.
std::string SupervisorService::why_not_up(std::size_t index) const {
  const Node& node = definition_.nodes[index];
  std::string first;
  for (const std::size_t needed : node.needs) {
    std::string why = why_never_up(needed);
    if (why.empty() == node.needs_any) return why;
    if (first.empty()) first = std::move(why);
  }
  return first;
}

/// Returns why a child that another one needs does not become ready without a request; empty: it may.
std::string SupervisorService::why_never_up(std::size_t needed) const {
  const Child& child = *children_[needed];
  if (child.is_up()) return {};
  if (child.is_over())
    return "it needs service '" + child.plan.name + "', whose state is: " + to_string(child.state);
  return child.state == State::waiting ? why_not_up(needed) : std::string();
}

/// Returns an empty text if a child has become what was asked for, and the reason if it won't. nullopt: not decided yet.
std::optional<std::string> SupervisorService::fate_of(const Child& child, bool wants_start) const {
  const std::string who = "service '" + child.plan.name + "' ";
  if (child.is_to_stop || child.state == State::stopping) return std::nullopt;
  if (child.plan.is_leaving && !child.is_over()) return std::nullopt;
  if (wants_start ? child.is_up() : child.is_over()) return std::string();
  if (!wants_start) return who + "was started again meanwhile";
  if (child.is_over()) return who + "is " + to_string(child.state) + ": " + child.last_end;
  if (child.state == State::resting && !child.is_due && child.rest_until > os::Clock::now())
    return who + "did not start, and is started again soon: " + child.last_end;
  const std::string why = child.state == State::waiting ? why_not_up(index_of(child)) : "";
  if (why.empty()) return std::nullopt;
  return who + "waits: " + why;
}

bool SupervisorService::answer_if_decided(Waiter& waiter) {
  std::optional<std::string> why;
  std::erase_if(waiter.replicas, [&](const Child* replica) {
    if (why && !why->empty()) return false;
    why = fate_of(*replica, waiter.wants_start);
    return why.has_value();
  });
  if (!why || why->empty()) {
    if (!waiter.replicas.empty()) return false;
    why = fate_of(*waiter.child, waiter.wants_start);
  }
  if (!why) return false;
  if (why->empty())
    send_response(waiter.request, facts_of(*waiter.child));
  else
    refuse(waiter.request, *why);
  return true;
}

void SupervisorService::answer_waiters() {
  std::erase_if(waiters_, [this](Waiter& waiter) {
    try {
      return answer_if_decided(waiter);
    } catch (const Error& error) {  // the requester has left
      service::complain(name(), std::string("an answer found nobody: ") + error.what());
      return true;
    }
  });
}

}  // namespace ipcm::supervisor
