#pragma once

#include <cereal/types/vector.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "ipcm/content.h"
#include "supervisor/order.h"
#include "supervisor/restarts.h"

namespace ipcm::supervisor {

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

  template <class Archive>
  void serialize(Archive& archive) {
    archive(cereal::make_nvp("name", name), cereal::make_nvp("class", class_name), optional("args", args),
            optional("boot", boot), optional("depends_on", depends_on), optional("ready", ready),
            optional("restart", restart), optional("timeout", timeout), optional("grace", grace),
            optional("delay", delay), optional("max_delay", max_delay), optional("jitter", jitter),
            optional("reset_after", reset_after));
  }
};

/// The parameters of the class `supervisor`; docs/supervise.md describes them.
struct Arguments {
  std::string strategy = "one_for_one";
  std::uint64_t intensity = 5;
  double period = 60;
  std::vector<ChildArguments> services;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(optional("strategy", strategy), optional("intensity", intensity), optional("period", period),
            optional("services", services));
  }
};

/// A checked child.
struct ChildPlan {
  std::string name, class_name, boot;
  Content args;
  bool ready_by_exit = false;  ///< it is ready when it has ended with status 0
  Policy policy = Policy::permanent;
  Duration timeout{}, grace{};
  Delays delays;
};

/// Checked parameters. `nodes` and `children` have the same indices.
struct Definition {
  Strategy strategy = Strategy::one_for_one;
  std::size_t intensity = 0;
  Duration period{};
  std::vector<ChildPlan> children;
  std::vector<Node> nodes;
  std::vector<std::size_t> order;  ///< of the start
};

/// Checks the parameters. `own_name`: the name of the supervisor, which no child can have. Throws UsageError with all
/// mistakes at once, a sentence each.
[[nodiscard]] Definition define(const Arguments& arguments, const std::string& own_name);

}  // namespace ipcm::supervisor
