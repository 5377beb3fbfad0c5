// Handing a bus over to a daemon: two forks and a session of its own, so that nobody is its parent and no
// terminal reaches it. Taking over is one rename (transport/presence/lock_file.h): there is no moment in
// which the bus has no owner, so no service takes it for orphaned.

#include "bus/cleave.h"

#include <sys/epoll.h>

#include <charconv>
#include <csignal>
#include <string>

#include "bus/end_bus.h"
#include "bus/member.h"
#include "ipcm/error.h"
#include "os/directory.h"
#include "os/pipe.h"
#include "os/process.h"
#include "os/signals.h"
#include "os/spawn.h"
#include "transport/protocols.h"

namespace ipcm::bus {
namespace {

constexpr auto kTakeOverTime = std::chrono::seconds(10);

/// Owns the bus until a signal ends it, or until all peers that were there have left.
class Keeper {
 public:
  explicit Keeper(const BusInfo& info)
      : signals_(os::heeded({SIGTERM, SIGINT, SIGHUP})),
        member_(request(info), loop_, Member::Sending::queues) {
    watch_ = loop_->watch(signals_.fd(), EPOLLIN, [this](std::uint32_t) {
      while (signals_.next()) told_ = true;
    });
    member_.watch_peers();
    seen_ = member_.peer_changes();
    anybody_ = !member_.transport().peers().empty();
  }

  void keep() {
    while (!told_ && member_.ended().empty() && !member_.transport().is_orphaned()) {
      loop_->run_until([this] { return told_ || member_.peer_changes() != seen_; }, os::Deadline::never());
      seen_ = member_.peer_changes();
      const bool now = !member_.transport().peers().empty();
      if (anybody_ && !now) return;
      anybody_ = now;
    }
  }

 private:
  static transport::JoinRequest request(const BusInfo& info) {
    transport::JoinRequest request;
    request.info = info;
    request.name = "spawn";
    request.anonymous = true;
    return request;
  }

  os::SignalReader signals_;
  std::shared_ptr<Loop> loop_ = std::make_shared<Loop>();
  Member member_;
  Watch watch_;
  std::uint64_t seen_ = 0;
  bool told_ = false, anybody_ = false;
};

/// The life of the daemon. Writes its pid to `report`, or "!" and an error.
int guard_from_now_on(const BusInfo& info, const SpawnOptions& options, os::UniqueFd report) {
  const transport::Protocol& protocol = transport::find_protocol(info.protocol);
  std::unique_ptr<transport::Ownership> owner;
  std::unique_ptr<Keeper> keeper;
  os::take_charge_of_signals();
  try {
    os::set_process_title("ipcm-guard");
    owner = protocol.own(info);
    keeper = std::make_unique<Keeper>(info);  // lists the peers before it reports its pid
    (void)os::try_write_all(report.get(), std::to_string(os::own_pid()));
  } catch (const std::exception& error) {
    (void)os::try_write_all(report.get(), std::string("!") + error.what());
    return 1;
  }
  report.reset();
  try {
    keeper->keep();
    keeper.reset();
    if (end_bus(info, options, {}, IfSomeStay::remove_bus).removal) return 0;
  } catch (const std::exception&) {
    // The error has no receiver. The route is removed all the same.
  }
  owner.reset();  // its descriptors may be all that is missing
  (void)protocol.remove_route(info);
  return 0;
}

}  // namespace

Pid cleave(const BusInfo& info, const SpawnOptions& options) {
  if (os::has_threads())
    throw UsageError(
        "a bus can't be cleaved from a process with several threads: a fork would copy their locks as they "
        "stand; cleave before threads are made, or make the bus with guard = false");
  os::Pipe pipe = os::make_pipe();
  const int report = pipe.write_end.release();
  auto middle = os::fork_process();
  if (!middle) {
    os::discard_stdio();
    try {
      os::start_session();
      if (os::fork_process_unowned()) os::leave_forked_process(0);
      os::keep_only({report});
      os::leave_forked_process(guard_from_now_on(info, options, os::UniqueFd(report)));
    } catch (const std::exception& error) {
      (void)os::try_write_all(report, std::string("!") + error.what());
    }
    os::leave_forked_process(1);
  }
  pipe.write_end = os::UniqueFd(report);
  pipe.write_end.reset();
  (void)middle->reap(os::Deadline::after(kTakeOverTime));
  const std::string words =
      os::read_until_end(pipe.read_end.get(), os::Deadline::after(kTakeOverTime), "cleave");
  Pid pid = 0;
  std::from_chars(words.data(), words.data() + words.size(), pid);
  if (pid > 0) return pid;
  throw Error("the bus at " + info.route + " could not be handed over: " +
              (words.size() > 1 ? words.substr(1) : "the process that was to own it ended without a word"));
}

}  // namespace ipcm::bus
