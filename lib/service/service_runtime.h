#pragma once

#include <csignal>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bus/peer_changes.h"
#include "client/pending_requests.h"
#include "ipcm/service.h"
#include "loop/loop.h"
#include "loop/recovery.h"
#include "os/rolling_log.h"
#include "os/signals.h"
#include "ready/ready.h"
#include "service/child_services.h"
#include "service/descriptor_watches.h"
#include "service/own_place_watch.h"
#include "service/request_dispatcher.h"
#include "service/service_record.h"
#include "service/setup.h"
#include "service/workers.h"

namespace ipcm::service {

/// What a Service object runs on: its place on the bus, its loop, the order of a turn, and its children.
///
/// The callbacks of the loop only note what happened (in `next_`); turn() then does everything in a fixed
/// order. So a callback of the service may itself wait for an answer: the loop runs underneath, and notes for
/// the next turn.
class ServiceRuntime {
 public:
  ServiceRuntime(Service& self, ServiceSetup setup);
  ~ServiceRuntime();
  ServiceRuntime(const ServiceRuntime&) = delete;
  ServiceRuntime& operator=(const ServiceRuntime&) = delete;

  // The life of a service, in this order; see serve.cc.
  void join();
  void start();                          ///< on_start
  int run(ready::Announcer& announcer);  ///< Until terminate; returns the exit code.
  /// The log that our streams lead to from now on; it is kept from growing.
  void keep_log(os::UniqueFd log) { log_ = os::RollingLog(std::move(log)); }
  /// Keeps the fact that this service is about to exit with that status, unless it is 0. Called before leave(): a peer
  /// that has left makes no file on the bus any more.
  void keep_failure(int status) const noexcept;
  void leave();

  void terminate(int code);
  void watch_peers();
  void watch(int fd, Readiness wanted, std::function<void()> callback);
  void send_response(const Request& request, const Content& answer);
  void send_error(const Request& request, const std::string& text);

  [[nodiscard]] const Setup& setup() const { return *setup_; }
  [[nodiscard]] bool joined() const { return client_.has_value(); }
  [[nodiscard]] Client& client();
  [[nodiscard]] client::PendingRequests& requests();
  [[nodiscard]] ChildServices& children();
  [[nodiscard]] Workers& workers() { return workers_; }
  [[nodiscard]] Loop& loop() { return *loop_; }
  /// Returns the pidfd of the process to which this service is leashed, borrowed; -1: there is none.
  [[nodiscard]] int leash() const { return leash_; }
  /// For callbacks of the loop that a class has added: the next turn calls on_activity().
  void wake() { something_ = true; }
  /// From now on each change of the bus wakes the service, also one that is neither a join nor a leave: a peer that has
  /// joined before can receive from now on. For a class that watches its peers.
  void wake_on_changes_of_bus() { wakes_on_changes_of_bus_ = true; }
  /// Whether the service will end with the next turn: for an on_start that waits.
  [[nodiscard]] bool is_told_to_end() const {
    return next_.sigs.contains(SIGTERM) || next_.sigs.contains(SIGINT) || !next_.pid_watch.empty();
  }

  Callbacks callbacks;

 private:
  void watch_processes();
  void on_signals();
  void arm_interval();
  void arm_watchdog(ready::Announcer& announcer);
  void look_after_log();
  void turn();
  void end_with_bus();
  void finish_messages();
  /// Answers the requests for the facts of this service, before all others: a long queue does not delay them. Returns
  /// how many of the messages of this turn they are; deliver() passes over them.
  std::size_t answer_inspections();
  bool beat_if_due();  ///< Runs on_interval if its time has come.
  void deliver(wire::IncomingMessage& incoming, Activity& activity);
  void tell_unhandled(Activity rest);
  void note_peers();
  void note_children();
  void complain(const std::string& sentence) const;
  void complain_of_failure(const std::string& sentence);
  template <class Call>
  void guarded(const char* what, Call&& call);

  Service& self_;
  std::unique_ptr<Setup> setup_;
  std::shared_ptr<Loop> loop_;
  std::optional<Client> client_;
  std::shared_ptr<client::PendingRequests> requests_;
  std::optional<ChildServices> children_;
  ServiceRecord record_;
  RequestDispatcher dispatcher_;
  Workers workers_;
  std::uint64_t seen_decided_ = 0;  // HeldStarts::decided()
  std::unique_ptr<os::SignalReader> signals_;
  Watch signals_watch_;
  struct Watched {
    Pid pid;
    os::UniqueFd process;
    Watch watch;
  };
  std::vector<std::unique_ptr<Watched>> watched_;
  int leash_ = -1;  // that of one of them
  Watch interval_watch_, watchdog_watch_;
  DescriptorWatches descriptors_;
  Recovery loop_recovery_, peers_recovery_;
  OwnPlaceWatch own_place_;
  int failed_turns_ = 0;
  os::RollingLog log_;
  os::Clock::time_point next_log_look_{};
  os::Clock::time_point next_interval_{};
  std::optional<bus::PeerChanges> peer_changes_;
  std::vector<wire::IncomingMessage> messages_;  // of this turn
  Activity next_;                                // noted by the loop, for the next turn
  bool something_ = false;
  bool wakes_on_changes_of_bus_ = false;
  std::optional<int> exit_code_;
};

}  // namespace ipcm::service
