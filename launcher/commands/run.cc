// ipcm run: makes a bus, starts one service, sends requests, prints the answers in order, and removes both.

#include <sys/epoll.h>

#include <csignal>
#include <utility>

#include "asking.h"
#include "commands/commands.h"
#include "log_follower.h"
#include "loop/loop.h"
#include "os/signals.h"
#include "report.h"

namespace ipcm::launcher {
namespace {

class Run {
 public:
  Run(const Options& options, std::vector<Content> requests)
      : options_(options),
        signals_(os::heeded({SIGINT, SIGTERM, SIGHUP})),
        handle_(
            ipcm_service_begin(options.service_name(), hurried_by(signals_.fd(), service_options(options)))),
        logs_(loop_, handle_.info()),
        asking_(options_, loop_, options.service_name(), std::move(requests), Asking::kWindow,
                [this](const Content& request, ResponseCallback callback) {
                  handle_.send_request(request, std::move(callback));
                }) {
    signals_watch_ = loop_.watch(signals_.fd(), EPOLLIN, [this](std::uint32_t) {
      const auto receipt = signals_.next();
      if (!receipt) return;
      interrupted_ = receipt->signal;
      asking_.stop();
      signals_watch_.stop();  // the next signal hurries the shutdown
    });
    handle_watch_ = loop_.watch(handle_.fd(), EPOLLIN, [this](std::uint32_t) { handle_.dispatch(); });
    options_.bus = handle_.info().text();  // an error quotes the logs of this bus
  }

  int go() {
    loop_.run_until([this] { return interrupted_ != 0 || handle_.ready(); }, os::Deadline::never());
    if (interrupted_ == 0) {
      tell(options_, "service '" + options_.service_name() + "' is process " +
                         std::to_string(handle_.service_pid().value_or(0)) + ", ready after " +
                         readable_milliseconds(handle_.time_to_ready()) + ", on the bus " +
                         handle_.info().text());
      asking_.ask_all();
    }
    const auto began = os::Clock::now();
    logs_.hold();
    const auto ended = handle_.shutdown();
    signals_.discard();
    logs_.finish();
    tell(options_, std::to_string(asking_.asked()) + " requests, " + std::to_string(asking_.answered()) +
                       " answers; the service " + (ended ? ended->describe() : "ended") +
                       ", the bus was removed in " + readable_milliseconds(os::Clock::now() - began));
    return interrupted_ != 0 ? 128 + interrupted_ : number(asking_.status());
  }

 private:
  /// Sets the descriptor of signals that hurry the shutdown.
  static ServiceOptions hurried_by(int fd, ServiceOptions service) {
    service.bus.hurry_fd = fd;
    return service;
  }

  Options options_;
  os::SignalReader signals_;
  Loop loop_;
  Handle handle_;
  LogFollower logs_;
  Asking asking_;
  Watch signals_watch_, handle_watch_;
  int interrupted_ = 0;
};

}  // namespace

int run(const Options& options) {
  // All requests are checked before the service is started.
  std::vector<Content> requests;
  for (const std::string& word : options.words) requests.push_back(json_from(word, "request"));
  return Run(options, std::move(requests)).go();
}

}  // namespace ipcm::launcher
