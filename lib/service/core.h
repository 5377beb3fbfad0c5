#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ipcm/service.h"
#include "launch/launch.h"
#include "loop/loop.h"
#include "loop/recovery.h"
#include "os/rolling_log.h"
#include "os/signals.h"
#include "ready/ready.h"
#include "service/requests.h"
#include "service/setup.h"

namespace ipcm::service {

/// What a Service object drives: its place on the bus, its loop, and what it has started.
///
/// The loop's callbacks only note what happened (into `next_`); turn() then does everything in a fixed order.
/// That is why a callback of the service may itself wait for an answer: the loop runs on underneath and notes
/// for later.
class Core {
 public:
  Core(Service& self, ServiceSetup setup);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // The life of a service, in this order; see serve.cc.
  void join();
  void start();                          ///< on_start
  int run(ready::Announcer& announcer);  ///< Until terminate; returns the exit code.
  /// The log that our streams lead to from now on; it is kept from growing.
  void keep_log(os::UniqueFd log) { log_ = os::RollingLog(std::move(log)); }
  void leave();

  void terminate(int code);
  void watch_peers();
  void send_response(const Request& request, const Content& answer);
  void send_error(const Request& request, const std::string& text);

  /// Starts a service on this bus; see start.cc.
  void launch(const std::string& name, const ServiceOptions& options, bool wait);
  bool ready(const std::string& name, std::optional<os::Deadline> wait);
  [[nodiscard]] launch::Launch* launched(const std::string& name);

  /// See workers.cc.
  Pid start_worker(const std::string& name, const std::function<int()>& work, bool allow_threads);
  [[nodiscard]] std::vector<Worker> workers();

  [[nodiscard]] const Setup& setup() const { return *setup_; }
  [[nodiscard]] bool joined() const { return client_.has_value(); }
  [[nodiscard]] Client& client();
  [[nodiscard]] Requests& requests();
  [[nodiscard]] Loop& loop() { return *loop_; }

  Callbacks callbacks;
  Duration worker_patience = std::chrono::seconds(15);

 private:
  void watch_processes();
  void on_signals();
  void arm_interval();
  void arm_watchdog(ready::Announcer& announcer);
  void look_after_log();
  void look_after_own_place();
  void turn();
  void end_with_bus();
  void finish_messages();
  bool beat_if_due();  ///< Runs on_interval if its time has come.
  void deliver(wire::Heard& heard, Activity& activity);
  void answer(Request request);
  void send_answer(const Request& asked, const Answer& answered, const std::string& failure);
  void tell_unhandled(Activity rest);
  void forget_ended_workers();
  void begin_to_end_workers();
  void end_workers();
  void note_peers();
  void follow_launches();
  void note_ended_launches();
  void end_launched();
  template <class Call>
  void guarded(const char* what, Call&& call);

  Service& self_;
  std::unique_ptr<Setup> setup_;
  std::shared_ptr<Loop> loop_;
  std::optional<Client> client_;
  std::shared_ptr<Requests> requests_;
  std::unique_ptr<os::SignalReader> signals_;
  Watch signals_watch_;
  struct Watched {
    Pid pid;
    os::UniqueFd process;
    Watch watch;
  };
  std::vector<std::unique_ptr<Watched>> watched_;
  Watch interval_watch_, watchdog_watch_;
  Recovery loop_recovery_, peers_recovery_, place_recovery_;
  enum class Place { unknown, noted, watched };
  Place place_ = Place::unknown;  // ours on the bus
  os::Clock::time_point next_look_{};
  int failed_turns_ = 0;
  os::RollingLog log_;
  os::Clock::time_point next_log_look_{};
  os::Clock::time_point next_interval_{};
  std::map<std::string, std::unique_ptr<launch::Launch>> launches_;
  std::set<std::string> starting_;
  std::set<Pid> told_;  // launched, and their end was told
  struct OwnWorker {
    std::string name;
    os::Child child;
  };
  std::vector<OwnWorker> workers_;
  os::Deadline workers_end_ = os::Deadline::never();
  bool watches_peers_ = false;
  std::set<std::string> known_peers_;
  std::uint64_t seen_changes_ = 0;
  std::vector<wire::Heard> messages_;  // of this turn
  Activity next_;                      // noted by the loop, for the next turn
  bool something_ = false;
  Request asked_{{}, {}, {}};  // room for the address of the next request
  std::string left_early_;     // the last requester that did not stay for its answer
  std::optional<int> exit_code_;
};

}  // namespace ipcm::service
