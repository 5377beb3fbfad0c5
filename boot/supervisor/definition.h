#pragma once

#include <cereal/types/vector.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ipcm/content.h"
#include "supervisor/order.h"
#include "supervisor/restarts.h"

namespace ipcm::supervisor {

/// Keys of children that later versions will have.
inline constexpr std::array kNotYet = {"on_demand", "idle_timeout", "watch"};

/// The health checks of a child: a request to it, or a command. Times are in seconds.
struct HealthArguments {
  Content request;  ///< null: a command
  std::vector<std::string> command;
  double interval = 10, timeout = 1, start_period = 0;
  std::uint64_t retries = 3;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(optional("request", request), optional("command", command), optional("interval", interval),
            optional("timeout", timeout), optional("retries", retries),
            optional("start_period", start_period));
  }
};

/// One child, as it stands in the parameters. Times are in seconds.
struct ChildArguments {
  std::string name;
  std::string class_name;
  Content args;
  std::string boot;  ///< the boot binary; empty: that of the supervisor
  std::vector<std::string> depends_on;
  std::string ready = "ready";
  std::string restart = "permanent";
  double timeout = 10, grace = 10;
  double delay = 0.1, max_delay = 30, jitter = 0.2, reset_after = 10;
  std::optional<HealthArguments> health;
  bool propagate = false;
  std::optional<std::uint64_t> replicas;  ///< nullopt: it is one process, without a balancer
  std::vector<std::string> not_yet;       ///< those of kNotYet that are given

  template <class Archive>
  void serialize(Archive& archive) {
    if constexpr (Archive::is_loading::value)
      for (const char* key : kNotYet) {
        Content given;
        archive(optional(key, given));
        if (!given.is_null()) not_yet.emplace_back(key);
      }
    archive(cereal::make_nvp("name", name), cereal::make_nvp("class", class_name), optional("args", args),
            optional("boot", boot), optional("depends_on", depends_on), optional("ready", ready),
            optional("restart", restart), optional("timeout", timeout), optional("grace", grace),
            optional("delay", delay), optional("max_delay", max_delay), optional("jitter", jitter),
            optional("reset_after", reset_after), optional("health", health),
            optional("propagate", propagate), optional("replicas", replicas));
  }
};

/// The parameters of the class `supervisor`; docs/supervise.md describes them.
struct Arguments {
  std::string strategy = "one_for_one";
  std::uint64_t intensity = 5;
  double period = 60;
  bool adopt = false, await_subscriber = false;
  std::vector<ChildArguments> services;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(optional("strategy", strategy), optional("intensity", intensity), optional("period", period),
            optional("adopt", adopt), optional("await_subscriber", await_subscriber),
            optional("services", services));
  }
};

/// Checked health checks.
struct HealthPlan {
  Content request;  ///< null: the command
  std::vector<std::string> command;
  Duration interval{}, timeout{}, start_period{};
  std::size_t retries = 0;
  friend bool operator==(const HealthPlan&, const HealthPlan&) = default;
};

/// A checked child.
struct ChildPlan {
  std::string name, class_name, boot;
  Content args;
  bool ready_by_exit = false;  ///< it is ready when it has ended with status 0
  Policy policy = Policy::permanent;
  Duration timeout{}, grace{};
  Delays delays;
  std::optional<HealthPlan> health;
  bool propagate = false;  ///< the children that need it are started again with it after its failures
  bool is_balancer = false;
  std::string balancer;     ///< of a replica: the child that has its requests; empty: it is no replica
  bool is_leaving = false;  ///< a reload has removed it: it stops, and is forgotten then
  friend bool operator==(const ChildPlan&, const ChildPlan&) = default;
};

/// Checked parameters. `nodes` and `children` have the same indices.
struct Definition {
  Strategy strategy = Strategy::one_for_one;
  std::size_t intensity = 0;
  Duration period{};
  bool adopts = false;             ///< children outlive a killed supervisor, and the next one adopts them
  bool awaits_subscriber = false;  ///< no child starts before there is one: it gets all events
  std::vector<ChildPlan> children;
  std::vector<Node> nodes;
  std::vector<std::size_t> order;  ///< of the start
};

/// Checks the parameters. A child with replicas becomes a balancer of its name, and the children NAME.1 and so on. `own_name`: the name of the supervisor, which no child can have. Throws UsageError with all
/// mistakes at once, a sentence each.
[[nodiscard]] Definition define(const Arguments& arguments, const std::string& own_name);

}  // namespace ipcm::supervisor
