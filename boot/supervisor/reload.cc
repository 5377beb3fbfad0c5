// How a supervisor takes other parameters: it checks them whole, and applies only the difference.

#include <algorithm>
#include <utility>

#include "ipcm/error.h"
#include "service/diagnostic.h"
#include "service/service_runtime.h"
#include "supervisor/supervisor_service.h"

namespace ipcm::supervisor {

/// Throws UsageError with the mistakes; then nothing is changed.
void SupervisorService::reload(Request&& request, const Arguments& arguments) {
  Difference difference = compare(definition_, define(arguments, name()));
  arguments_ = arguments;
  std::map<Change, std::vector<std::string>> names;
  const auto changes = difference.changes;
  apply(std::move(difference));
  Reload reload{std::move(request), {}, {}, {}};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    Child& child = *children_[i];
    const bool is_restarted = apply(child, changes[i]);
    const Change change = changes[i] == Change::restarted && !is_restarted ? Change::updated : changes[i];
    names[change].push_back(child.plan.name);
    if (change == Change::started || change == Change::restarted || change == Change::stopped)
      reload.pending.emplace_back(&child, change != Change::stopped);
  }
  for (const auto& child : children_)
    if (child->plan.is_balancer && child->state == State::running && child->begun_args != child->plan.args)
      update_balancer(*child);
  for (const Change change :
       {Change::started, Change::stopped, Change::restarted, Change::updated, Change::unchanged})
    reload.answer[to_string(change)] = names[change];
  tell("reloaded", reload.answer);
  reloads_.push_back(std::move(reload));
  runtime().wake();
}

/// Puts the children into the order of the new definition, with their new plans.
void SupervisorService::apply(Difference&& difference) {
  std::vector<std::unique_ptr<Child>> children;
  for (std::size_t i = 0; i < difference.changes.size(); ++i) {
    const ChildPlan& plan = difference.definition.children[i];
    if (!difference.olds[i]) {
      children.push_back(make_child(plan));
      continue;
    }
    children.push_back(std::move(children_[*difference.olds[i]]));
    Child& child = *children.back();
    const bool has_other_checks = child.plan.health != plan.health;
    const bool has_come_back = child.plan.is_leaving && !plan.is_leaving;
    if (has_come_back) child.after_stop = AfterStop::starts_again;
    if (has_come_back) child.drain = 0;
    child.plan = plan;
    child.backoff.use(plan.delays);
    if (has_other_checks && child.state == State::running) begin_health_checks(child);
  }
  children_ = std::move(children);
  definition_ = std::move(difference.definition);
  intensity_.use(definition_.intensity, definition_.period);
}

/// Stops a child, or lets it start again. Returns false for one that a request has stopped: it stays so.
bool SupervisorService::apply(Child& child, Change change) {
  const std::size_t index = index_of(child);
  if (change == Change::stopped && !is_served_by_balancer(child)) stop(index, AfterStop::stays);
  if (change != Change::restarted) return true;
  const bool stays_stopped =
      child.state == State::stopped ||
      ((child.is_to_stop || child.state == State::stopping) && child.after_stop == AfterStop::stays);
  if (stays_stopped) return false;
  child.backoff.reset();
  child.rest_until = {};
  if (child.has_process())
    stop(index, AfterStop::starts_again);
  else
    order_start(index);
  return true;
}

/// Throws UsageError for names that have no replicas.
void SupervisorService::scale(Request&& request, const std::map<std::string, std::uint64_t>& counts) {
  Arguments arguments = arguments_;
  for (const auto& [service, count] : counts) {
    const auto found = std::find_if(arguments.services.begin(), arguments.services.end(),
                                    [&wanted = service](const auto& one) { return one.name == wanted; });
    if (found == arguments.services.end()) {
      (void)find(service);  // throws unless it is the name of one replica
      throw UsageError("service '" + service + "' can't be scaled: it is a replica");
    }
    if (!found->replicas)
      throw UsageError("service '" + service + "' can't be scaled: its parameters have no `replicas`");
    found->replicas = count;
  }
  reload(std::move(request), arguments);
}

/// Whether a replica that leaves gets requests until its balancer is told.
bool SupervisorService::is_served_by_balancer(const Child& replica) const {
  if (replica.plan.balancer.empty() || replica.state != State::running || replica.is_to_stop) return false;
  return std::any_of(children_.begin(), children_.end(), [&](const auto& child) {
    return child->plan.is_balancer && !child->plan.is_leaving && child->state == State::running &&
           !child->is_to_stop && child->plan.name == replica.plan.balancer;
  });
}

/// Tells a balancer its replicas. Those that leave stop when it has passed on their last answers.
void SupervisorService::update_balancer(Child& balancer) {
  /// A replica that does not answer all its requests in this time stops all the same.
  constexpr Duration kLongestDrain = std::chrono::seconds(60);
  const std::uint64_t drain = ++drains_;
  for (const auto& child : children_) {
    if (!child->plan.is_leaving || child->plan.balancer != balancer.plan.name || child->is_to_stop ||
        child->state != State::running)
      continue;
    child->drain = drain;
    set_timer(*child, os::from_now(kLongestDrain));
  }
  balancer.begun_args = balancer.plan.args;
  auto args = balancer.plan.args.as<Facts>();
  const Content change = Facts{{"ipcm_balancer", Facts{{"replicas", args["replicas"]}}}};
  try {
    (void)send_request(balancer.plan.name, change, [this, drain](const Response& response) {
      if (!response.ok())
        service::complain(name(), "a balancer was not told its replicas: " + response.error());
      stop_drained(drain);
    });
  } catch (const Error& error) {
    service::complain(name(), std::string("a balancer was not told its replicas: ") + error.what());
    stop_drained(drain);
  }
}

void SupervisorService::stop_drained(std::uint64_t drain) {
  for (std::size_t i = 0; i < children_.size(); ++i) {
    if (children_[i]->drain != drain) continue;
    children_[i]->drain = 0;
    children_[i]->timer.stop();
    stop(i, AfterStop::stays);
  }
  runtime().wake();
}

bool SupervisorService::answer_if_decided(Reload& reload) {
  std::erase_if(reload.pending, [&](const auto& entry) {
    const auto why = fate_of(*entry.first, entry.second);
    if (why && !why->empty()) reload.failed[entry.first->plan.name] = *why;
    return why.has_value();
  });
  if (!reload.pending.empty()) return false;
  if (!reload.failed.empty()) reload.answer["failed"] = reload.failed;
  send_response(reload.request, reload.answer);
  return true;
}

void SupervisorService::answer_reloads() {
  std::erase_if(reloads_, [this](Reload& reload) {
    try {
      return answer_if_decided(reload);
    } catch (const Error& error) {  // the requester has left
      service::complain(name(), std::string("an answer found nobody: ") + error.what());
      return true;
    }
  });
}

/// Removes the children that a reload has removed and that have stopped. Nothing refers to them any more: each request
/// about one is answered by then.
void SupervisorService::forget_those_that_left() {
  const auto has_left = [this](std::size_t i) {
    return children_[i]->plan.is_leaving && children_[i]->is_over();
  };
  std::vector<std::size_t> new_indices;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < children_.size(); ++i)
    new_indices.push_back(has_left(i) ? children_.size() : kept++);
  if (kept == children_.size()) return;
  const auto renumber = [&](std::vector<std::size_t>& indices) {
    for (std::size_t& index : indices) index = new_indices[index];
    std::erase(indices, children_.size());
  };
  Definition definition = definition_;
  definition.children.clear();
  definition.nodes.clear();
  std::vector<std::unique_ptr<Child>> children;
  renumber(definition.order);
  for (std::size_t i = 0; i < children_.size(); ++i) {
    if (has_left(i)) {
      if (adopts_) records_.forget(children_[i]->plan.name);
      continue;
    }
    definition.children.push_back(definition_.children[i]);
    definition.nodes.push_back(definition_.nodes[i]);
    renumber(definition.nodes.back().needs);
  }
  for (std::size_t i = 0; i < children_.size(); ++i)
    if (new_indices[i] < children_.size()) children.push_back(std::move(children_[i]));
  children_ = std::move(children);
  definition_ = std::move(definition);
}

}  // namespace ipcm::supervisor
