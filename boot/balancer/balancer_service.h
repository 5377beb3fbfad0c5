#pragma once

#include <cereal/types/vector.hpp>

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "balancer/replicas.h"
#include "ipcm/service.h"
#include "loop/loop.h"

namespace ipcm::balancer {

/// The parameters of the class `balancer`.
struct Arguments {
  std::vector<std::string> replicas;   ///< their names on the bus
  std::string controller;              ///< the peer that may change the replicas; empty: none
  std::uint64_t max_waiting = 10'000;  ///< requests that are not answered yet, of all replicas together
  double timeout = 10;                 ///< seconds in which a request waits for a replica that is there

  template <class Archive>
  void serialize(Archive& archive) {
    archive(cereal::make_nvp("replicas", replicas), optional("controller", controller),
            optional("max_waiting", max_waiting), optional("timeout", timeout));
  }
};

/// The class `balancer`: holds a name, and passes each request on to the replica with the fewest requests, and its
/// answer or error back. See docs/supervise.md.
///
/// A request goes to another replica only if the first one can't have got it. So no request is carried out twice, and one
/// whose replica dies fails.
class BalancerService final : public Service {
 public:
  using Args = Arguments;
  BalancerService(ServiceSetup setup, const Args& args);

  void on_start() override;
  Answer take_request(Request&& request) override;
  void on_general_message(const Message& message) override;
  void on_activity(const Activity& activity) override;
  void on_cleanup() override;

 private:
  /// A request or a message that waits for a replica.
  struct Waiting {
    std::variant<Request, Message> what;
    os::Clock::time_point until;
  };
  enum class Passed { yes, no_replica };

  void pass_or_wait(Waiting&& one);
  Passed pass(const Waiting& one);
  void pass_to(const std::string& replica, const Waiting& one);
  void pass_waiting();
  void fail_late();
  void fail(const Waiting& one, const std::string& why);
  void finish(const std::string& replica, const Request& address, const Response& response);
  void refuse(const Request& request, const std::string& why);
  void look_at_replicas();
  void change(Request&& request);
  void answer_changes();
  [[nodiscard]] bool is_full() const;

  Arguments args_;
  Replicas replicas_;
  std::deque<Waiting> waiting_;  // in the order of their times
  Watch timer_;
  bool is_late_ = false;
  std::vector<Request> changes_;  // answered when the former replicas are drained
};

}  // namespace ipcm::balancer
