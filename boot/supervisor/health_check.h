#pragma once

#include <memory>
#include <optional>
#include <string>

#include "command/arguments.h"
#include "command/host.h"
#include "command/program.h"
#include "ipcm/service.h"
#include "loop/loop.h"
#include "supervisor/definition.h"

namespace ipcm::supervisor {

/// The health checks of one child that is ready, one at a time: a request, or a command. Nothing waits: the loop notes
/// what has come, wakes the service, and look() acts on it. The destructor ends the check that runs.
class HealthCheck {
 public:
  /// The first check begins one interval from now. `service` is the supervisor, which must outlive this object.
  HealthCheck(Service& service, const HealthPlan& plan, std::string child);
  ~HealthCheck();
  HealthCheck(const HealthCheck&) = delete;
  HealthCheck& operator=(const HealthCheck&) = delete;

  /// Returns why the child counts as failed, such as "3 health checks failed: no answer within 1 s"; nullopt: it does
  /// not.
  [[nodiscard]] std::optional<std::string> look();
  /// Returns why the last check failed; empty: it did not.
  [[nodiscard]] const std::string& last_failure() const { return last_failure_; }

 private:
  void begin();
  void run_command();
  void end(const std::string& failure);
  void rest();
  void set_timer(Duration span);
  void forget_request() noexcept;

  Service& service_;
  HealthPlan plan_;
  std::string child_;
  os::Clock::time_point start_period_ends_;
  std::string request_;                  // the id of the request that runs; empty: none does
  std::optional<std::string> response_;  // its error; empty: it was answered
  command::Plan command_plan_;
  std::unique_ptr<command::Host> host_;
  std::unique_ptr<command::Program> program_;  // the command that runs
  bool is_running_ = false, is_due_ = false;
  Watch timer_;
  std::size_t failures_ = 0;
  std::string last_failure_;
};

}  // namespace ipcm::supervisor
