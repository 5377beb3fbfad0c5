#include "supervisor/definition.h"

#include <algorithm>
#include <map>
#include <utility>

#include "ipcm/error.h"
#include "wire/nearest.h"
#include "wire/printable.h"

namespace ipcm::supervisor {
namespace {

constexpr double kLongestSpan = 1e8;  // three years, in seconds
constexpr std::size_t kMostChildren = 10'000, kMostRestarts = 100'000;

std::string quoted(const std::string& text) { return "'" + wire::printable_name(text) + "'"; }

/// Collects mistakes, so that one error has them all.
class Mistakes {
 public:
  void add(const std::string& where, const std::string& why) {
    text_ += (text_.empty() ? "" : "; ") + where + ": " + why;
  }
  void throw_if_any() const {
    if (!text_.empty()) throw UsageError("args of class 'supervisor': " + text_);
  }

  template <class Meaning>
  Meaning one_of(const std::string& where, const std::string& word,
                 const std::vector<std::pair<std::string, Meaning>>& words) {
    std::vector<std::string> names;
    std::string list;
    for (const auto& [name, meaning] : words) {
      if (name == word) return meaning;
      names.push_back(name);
      list.append(list.empty() ? "" : ", ").append(name);
    }
    add(where, quoted(word) + " is unknown" + wire::did_you_mean(word, names) + ", it is one of: " + list);
    return words.front().second;
  }

  Duration span(const std::string& where, double seconds, double least = 0) {
    if (seconds >= least && seconds <= kLongestSpan)
      return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
    add(where, "wants seconds, from " + std::string(least > 0 ? "0.001" : "0") + " to 100000000");
    return {};
  }

 private:
  std::string text_;
};

HealthPlan plan_health(const HealthArguments& given, const std::string& who, Mistakes& mistakes) {
  constexpr double kShortest = 0.001;
  HealthPlan plan;
  plan.request = given.request;
  plan.command = given.command;
  if (given.request.is_null() == given.command.empty())
    mistakes.add(who + "health", "wants either a request or a command");
  plan.interval = mistakes.span(who + "health.interval", given.interval, kShortest);
  plan.timeout = mistakes.span(who + "health.timeout", given.timeout, kShortest);
  plan.start_period = mistakes.span(who + "health.start_period", given.start_period);
  if (given.retries < 1 || given.retries > kMostRestarts)
    mistakes.add(who + "health.retries", "wants a number from 1 to 100000");
  plan.retries = static_cast<std::size_t>(given.retries);
  return plan;
}

ChildPlan plan_child(const ChildArguments& given, Mistakes& mistakes) {
  constexpr double kShortest = 0.001;
  const std::string who = "service " + quoted(given.name) + ": ";
  ChildPlan plan;
  plan.name = given.name;
  plan.class_name = given.class_name;
  plan.boot = given.boot;
  plan.args = given.args;
  for (const std::string& key : given.not_yet) mistakes.add(who + key, "this key is not available yet");
  if (given.class_name.empty()) mistakes.add(who + "class", "it is empty");
  plan.ready_by_exit = mistakes.one_of<bool>(who + "ready", given.ready, {{"ready", false}, {"exit", true}});
  plan.policy = mistakes.one_of<Policy>(
      who + "restart", given.restart,
      {{"permanent", Policy::permanent}, {"transient", Policy::transient}, {"temporary", Policy::temporary}});
  plan.timeout = mistakes.span(who + "timeout", given.timeout);
  plan.grace = mistakes.span(who + "grace", given.grace);
  plan.delays.base = mistakes.span(who + "delay", given.delay, kShortest);
  plan.delays.longest = mistakes.span(who + "max_delay", given.max_delay, kShortest);
  plan.delays.reset_after = mistakes.span(who + "reset_after", given.reset_after);
  if (!(given.jitter >= 0 && given.jitter <= 1)) mistakes.add(who + "jitter", "wants a number from 0 to 1");
  plan.delays.jitter = given.jitter;
  plan.propagate = given.propagate;
  if (given.health) plan.health = plan_health(*given.health, who, mistakes);
  if (given.health && plan.ready_by_exit)
    mistakes.add(who + "health", "a child that runs to completion has no health checks");
  return plan;
}

/// Returns the balancer of replicas.
ChildPlan plan_balancer(const ChildPlan& replica, const std::vector<std::string>& replicas,
                        const std::string& own_name) {
  ChildPlan plan;
  plan.name = replica.name;
  plan.class_name = "balancer";
  plan.args = std::map<std::string, Content>{{"replicas", replicas}, {"controller", own_name}};
  plan.timeout = replica.timeout;
  plan.grace = replica.grace;
  plan.delays = replica.delays;
  plan.propagate = replica.propagate;
  plan.is_balancer = true;
  return plan;
}

/// Adds a child, or its replicas and then their balancer. Returns how many children that are.
std::size_t add_child(const ChildArguments& given, const std::string& own_name, Definition& definition,
                      Mistakes& mistakes) {
  constexpr std::uint64_t kMostReplicas = 1000;
  ChildPlan plan = plan_child(given, mistakes);
  if (!given.replicas) {
    definition.children.push_back(std::move(plan));
    return 1;
  }
  const std::string who = "service " + quoted(given.name) + ": replicas";
  if (*given.replicas < 1 || *given.replicas > kMostReplicas)
    mistakes.add(who, "wants a number from 1 to 1000");
  if (plan.ready_by_exit) mistakes.add(who, "a child that runs to completion has no replicas");
  std::vector<std::string> names;
  for (std::uint64_t i = 1; i <= std::min(*given.replicas, kMostReplicas); ++i) {
    names.push_back(given.name + "." + std::to_string(i));
    definition.children.push_back(plan);
    definition.children.back().name = names.back();
    definition.children.back().balancer = given.name;
    definition.children.back().propagate = false;  // the others go on
  }
  definition.children.push_back(plan_balancer(plan, names, own_name));
  return names.size() + 1;
}

/// Sets the edges. `counts`: how many children each entry of the parameters has become.
void plan_edges(const Arguments& arguments, const std::vector<std::size_t>& counts, Definition& definition,
                Mistakes& mistakes) {
  std::vector<std::string> names;
  for (const ChildPlan& child : definition.children) names.push_back(child.name);
  for (std::size_t at = 0; at < arguments.services.size(); ++at) {
    const ChildArguments& child = arguments.services[at];
    std::vector<std::size_t> needs;
    for (const std::string& needed : child.depends_on) {
      const auto found = std::find(names.begin(), names.end(), needed);
      if (found == names.end())
        mistakes.add("service " + quoted(child.name) + ": depends_on",
                     "there is no service " + quoted(needed) + wire::did_you_mean(needed, names));
      else
        needs.push_back(static_cast<std::size_t>(found - names.begin()));
    }
    std::vector<std::size_t> replicas;
    for (std::size_t i = 0; i + 1 < counts[at]; ++i) {
      replicas.push_back(definition.nodes.size());
      definition.nodes.push_back({names[definition.nodes.size()], needs});
    }
    const bool has_replicas = child.replicas.has_value();
    definition.nodes.push_back({child.name, has_replicas ? replicas : needs, has_replicas});
  }
  std::sort(names.begin(), names.end());
  for (auto pair = names.begin(); (pair = std::adjacent_find(pair, names.end())) != names.end(); ++pair)
    mistakes.add("services", "the name " + quoted(*pair) + " is given twice");
}

}  // namespace

Definition define(const Arguments& arguments, const std::string& own_name) {
  Mistakes mistakes;
  Definition definition;
  definition.strategy = mistakes.one_of<Strategy>("strategy", arguments.strategy,
                                                  {{"one_for_one", Strategy::one_for_one},
                                                   {"one_for_all", Strategy::one_for_all},
                                                   {"rest_for_one", Strategy::rest_for_one}});
  if (arguments.intensity > kMostRestarts) mistakes.add("intensity", "wants a number from 0 to 100000");
  definition.intensity = static_cast<std::size_t>(arguments.intensity);
  definition.period = mistakes.span("period", arguments.period);
  definition.adopts = arguments.adopt;
  definition.awaits_subscriber = arguments.await_subscriber;
  if (arguments.services.size() > kMostChildren) {
    mistakes.add("services", "there are more than 10000");
    mistakes.throw_if_any();
  }
  std::vector<std::size_t> counts;
  for (const ChildArguments& child : arguments.services) {
    if (child.name == own_name)
      mistakes.add("service " + quoted(child.name), "it has the name of its supervisor");
    counts.push_back(add_child(child, own_name, definition, mistakes));
  }
  plan_edges(arguments, counts, definition, mistakes);
  try {
    definition.order = start_order(definition.nodes);
  } catch (const UsageError& error) {
    mistakes.add("services", error.what());
  }
  mistakes.throw_if_any();
  return definition;
}

}  // namespace ipcm::supervisor
