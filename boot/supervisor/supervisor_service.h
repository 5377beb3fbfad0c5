#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "command/log_stream.h"
#include "ipcm/service.h"
#include "supervisor/child.h"
#include "supervisor/child_record.h"
#include "supervisor/definition.h"
#include "supervisor/difference.h"

namespace ipcm::launch {
class Launch;
}

namespace ipcm::supervisor {

/// The class `supervisor`: starts services in the order of their dependencies, and starts them again. See
/// docs/supervise.md.
class SupervisorService final : public Service {
 public:
  using Args = Arguments;
  SupervisorService(ServiceSetup setup, const Args& args);

  void on_start() override;
  Answer take_request(Request&& request) override;
  void on_activity(const Activity& activity) override;
  void on_cleanup() override;

 private:
  using Facts = std::map<std::string, Content>;
  /// A request that is answered when its child has started, or stopped.
  struct Waiter {
    Request request;
    Child* child = nullptr;
    bool wants_start = false;
    std::vector<Child*> replicas;  ///< of the child, whose fate is not decided yet
  };

  /// A reload that is answered when the fate of each child is decided.
  struct Reload {
    Request request;
    Facts answer;
    std::vector<std::pair<Child*, bool>> pending;  // and whether it is to start
    std::map<std::string, std::string> failed;     // why children did not become ready
  };

  // The life of the children (supervisor_service.cc).
  void progress();
  [[nodiscard]] bool can_start(std::size_t index) const;
  void begin(std::size_t index);
  void look(std::size_t index);
  void look_at_start(std::size_t index);
  void ended(std::size_t index, const std::string& how, bool is_success);
  void restart(std::size_t index, bool is_success);
  void stop_for_restart(std::size_t index, std::size_t failed);
  void look_at_health(Child& child);
  void begin_health_checks(Child& child);
  [[nodiscard]] static std::unique_ptr<Child> make_child(const ChildPlan& plan);
  void rest(Child& child);
  void give_up(const std::string& why);
  void tell(const std::string& event, Facts facts);
  void send(const std::string& peer, const Content& content);
  void tell_end(std::size_t index, const std::string& event, const std::string& next, Facts facts);
  void set_timer(Child& child, os::Clock::time_point when);
  [[nodiscard]] launch::Launch* launch_of(const Child& child);

  // Stops (stops.cc).
  void stop(std::size_t index, AfterStop after);
  [[nodiscard]] bool is_needed_by_stopping(std::size_t index) const;
  void begin_stops();
  void begin_stop(Child& child);
  void press(Child& child);
  void look_at_stop(Child& child);
  void hurry();
  [[nodiscard]] bool is_hurried() const;
  [[nodiscard]] bool has_processes() const;

  // Adoption (adoption.cc).
  void expect_owner();
  void adopt_children();
  void restore(std::size_t index);
  std::optional<bool> take_over(const std::string& child, const ChildRecord& record);
  void end_strays();
  void keep_record(const Child& child);

  // Requests (requests.cc).
  [[nodiscard]] std::size_t find(const std::string& child) const;
  [[nodiscard]] Content status_of(const std::string& child);
  [[nodiscard]] std::size_t index_of(const Child& child) const;
  [[nodiscard]] Facts facts_of(const Child& child);
  Answer obey(Request&& request);
  void order(std::size_t index, bool is_restart);
  void order_start(std::size_t index);
  void answer_waiters();
  [[nodiscard]] std::optional<std::string> fate_of(const Child& child, bool wants_start) const;
  [[nodiscard]] bool answer_if_decided(Waiter& waiter);
  [[nodiscard]] std::string why_not_up(std::size_t index) const;
  [[nodiscard]] std::string why_never_up(std::size_t needed) const;
  [[nodiscard]] std::vector<std::size_t> replicas_of(std::size_t index) const;
  void refuse(const Request& request, const std::string& why);

  // Other parameters (reload.cc).
  void reload(Request&& request, const Arguments& arguments);
  void scale(Request&& request, const std::map<std::string, std::uint64_t>& counts);
  void apply(Difference&& difference);
  [[nodiscard]] bool apply(Child& child, Change change);
  void update_balancer(Child& balancer);
  void stop_drained(std::uint64_t drain);
  [[nodiscard]] bool is_served_by_balancer(const Child& replica) const;
  void answer_reloads();
  [[nodiscard]] bool answer_if_decided(Reload& reload);
  void forget_those_that_left();

  Arguments arguments_;
  Definition definition_;
  std::vector<std::unique_ptr<Child>> children_;
  Intensity intensity_;
  command::LogStream log_;
  std::vector<Waiter> waiters_;
  std::vector<Reload> reloads_;
  std::set<std::string> subscribers_;
  std::string gave_up_;  // the reason; empty: it has not
  bool is_ending_ = false;
  bool adopts_ = false;  // children outlive it if it is killed
  ChildRecords records_;
  std::vector<Watch> strays_;  // the timers of children that are not in the definition
  bool is_adopting_ = false;   // when it begins
  bool has_begun_ = false, has_lost_owner_ = false;
  std::uint64_t drains_ = 0;  // the number of the last order to a balancer
};

}  // namespace ipcm::supervisor
