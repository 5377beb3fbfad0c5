// ipcm run: makes a bus, starts one service, sends requests, prints the answers in order, and removes both.
//
// Each line of stdin gets exactly one line of stdout, so that a caller can match them by counting: the
// answer, or if there is none, an empty line and the error on stderr. With --json, the line is then an object
// that describes the error. This holds until the end of stdin, even after the service has died. A blank line
// is no request and gets an empty line.

#include <sys/epoll.h>

#include <csignal>
#include <cstdio>
#include <deque>
#include <optional>
#include <utility>

#include "commands/commands.h"
#include "line_reader.h"
#include "log_follower.h"
#include "loop/loop.h"
#include "os/signals.h"
#include "report.h"

namespace ipcm::launcher {
namespace {

/// The limit of open requests: enough to keep both sides busy, few enough to bound memory.
constexpr std::size_t kWindow = 256;
constexpr std::size_t kWindowBytes = 8UL * 1024 * 1024;

class Run {
 public:
  Run(const Options& options, std::vector<Content> requests)
      : options_(options),
        signals_(os::heeded({SIGINT, SIGTERM, SIGHUP})),
        requests_(std::make_move_iterator(requests.begin()), std::make_move_iterator(requests.end())),
        from_stdin_(options.words.empty()),
        handle_(
            ipcm_service_begin(options.service_name(), hurried_by(signals_.fd(), service_options(options)))),
        logs_(loop_, handle_.info()) {
    signals_watch_ = loop_.watch(signals_.fd(), EPOLLIN, [this](std::uint32_t) {
      const auto receipt = signals_.next();
      if (!receipt) return;
      interrupted_ = receipt->signal;
      signals_watch_.stop();  // the next signal hurries the shutdown
    });
    handle_watch_ = loop_.watch(handle_.fd(), EPOLLIN, [this](std::uint32_t) { handle_.dispatch(); });
    if (from_stdin_) lines_.emplace(loop_);
    options_.bus = handle_.info().text();  // an error quotes the logs of this bus
  }

  int go() {
    loop_.run_until([this] { return interrupted_ != 0 || handle_.ready(); }, os::Deadline::never());
    if (interrupted_ == 0) {
      tell(options_, "service '" + options_.service_name() + "' is process " +
                         std::to_string(handle_.service_pid().value_or(0)) + ", ready after " +
                         readable_milliseconds(handle_.time_to_ready()) + ", on the bus " +
                         handle_.info().text());
      ask_all();
    }
    const auto began = os::Clock::now();
    logs_.hold();
    const auto ended = handle_.shutdown();
    signals_.discard();
    logs_.finish();
    tell(options_, std::to_string(asked_) + " requests, " + std::to_string(answered_) +
                       " answers; the service " + (ended ? ended->describe() : "ended") +
                       ", the bus was removed in " + readable_milliseconds(os::Clock::now() - began));
    return interrupted_ != 0 ? 128 + interrupted_ : number(status_);
  }

 private:
  /// A request, from the time it is read until its answer is printed.
  struct Slot {
    std::size_t number = 0;  // of the request or of its line of stdin, from 1
    std::size_t bytes = 0;
    std::optional<Response> response = {};
    std::exception_ptr failed = {};  // the error, if there is no answer
    bool blank = false;              // a blank line is no request
    os::Deadline deadline = os::Deadline::never();

    [[nodiscard]] bool is_over() const { return response || failed || blank; }
  };
  using SharedSlot = std::shared_ptr<Slot>;

  /// Sets the descriptor of signals that hurry the shutdown.
  static ServiceOptions hurried_by(int fd, ServiceOptions service) {
    service.bus.hurry_fd = fd;
    return service;
  }

  void ask_all() {
    while (interrupted_ == 0 && !over_) {
      send_more();
      if (print_ready() && !over_) continue;  // there is room again, and lines may be buffered
      if (over_ || (slots_.empty() && requests_.empty() && (!lines_ || lines_->at_end()))) break;
      const os::Deadline deadline = slots_.empty() ? os::Deadline::never() : slots_.front()->deadline;
      const bool reads_on = lines_ && lines_->is_ready() && has_room();
      if (!loop_.turn(reads_on ? os::Deadline::passed() : deadline) && deadline.has_passed() &&
          !slots_.front()->is_over())
        slots_.front()->failed =
            std::make_exception_ptr(Timeout(naming(*slots_.front()) + ": '" + options_.service_name() +
                                            "' has not answered within the time given by --timeout"));
    }
    flush_output();
    if (input_lost_) std::rethrow_exception(input_lost_);
  }

  [[nodiscard]] std::string naming(const Slot& slot) const {
    return from_stdin_ ? "line " + std::to_string(slot.number) + " of stdin"
                       : "request " + std::to_string(slot.number);
  }

  [[nodiscard]] bool has_room() const { return slots_.size() < kWindow && bytes_ < kWindowBytes; }

  void send_more() {
    while (has_room()) {
      if (!requests_.empty()) {
        const Content request = std::move(requests_.front());
        requests_.pop_front();
        ask(add_slot(), request);
      } else if (!read_line()) {
        return;
      }
    }
  }

  SharedSlot add_slot() {
    // Shared with the callback, which may run after the deadline of the request.
    slots_.push_back(std::make_shared<Slot>());
    slots_.back()->number = ++asked_;
    return slots_.back();
  }

  void ask(const SharedSlot& slot, const Content& request) {
    slot->bytes = request.json().size();
    slot->deadline = os::Deadline::limit(options_.limit(kNoLimit));
    bytes_ += slot->bytes;
    try {
      handle_.send_request(request, [slot](const Response& response) { slot->response = response; });
    } catch (const Error&) {
      slot->failed = std::current_exception();  // too large, or the service has ended
    }
  }

  /// Adds a slot for the next line of stdin, and so a line of output. Returns false if there is no line now.
  bool read_line() {
    if (!lines_) return false;
    std::string line;
    LineReader::Next next = LineReader::Next::none;
    try {
      next = lines_->next(line);
    } catch (const Error&) {
      input_lost_ = std::current_exception();  // reported after all earlier lines have been answered
      lines_.reset();
    }
    if (next == LineReader::Next::none) return false;
    const SharedSlot slot = add_slot();
    const std::string name = naming(*slot);
    try {
      if (next == LineReader::Next::too_long) throw UsageError(name + " is longer than 64 MiB");
      slot->blank = line.find_first_not_of(" \t\r") == std::string::npos;
      if (!slot->blank) ask(slot, options_.program.raw ? Content(line) : json_from(line, name, slot->number));
    } catch (const Error&) {  // no JSON; with --raw, no UTF-8
      slot->failed = std::current_exception();
    }
    return true;
  }

  /// Prints the first slots that are over. Returns whether there were any.
  bool print_ready() {
    const std::size_t before = slots_.size();
    while (!slots_.empty() && slots_.front()->is_over() && !over_) {
      const SharedSlot slot = std::move(slots_.front());
      slots_.pop_front();
      bytes_ -= slot->bytes;
      print(*slot);
    }
    const bool done = slots_.size() < before;
    if (done && (slots_.empty() || from_stdin_)) flush_output();
    return done;
  }

  void print(const Slot& slot) {
    try {
      if (slot.blank) return print_text("\n");
      if (slot.failed) std::rethrow_exception(slot.failed);
      print_answer(*slot.response);
      ++answered_;
    } catch (const OutputLost&) {
      throw;
    } catch (const Error&) {
      tell_failure(slot);
    }
  }

  /// Reports the failure of one request. Further requests are still sent, unless the requests are words of
  /// the command line and the service has gone. Call it inside a catch block.
  void tell_failure(const Slot& slot) {
    Verdict verdict = understand_error();
    if (status_ == Status::done) status_ = verdict.status;
    if (verdict.message.find(naming(slot)) == std::string::npos) verdict.message += " (" + naming(slot) + ")";
    if (verdict.kind == "gone" && !std::exchange(has_gone_, true))  // only once
      verdict.message += last_words(options_, handle_.service_name());
    if (!from_stdin_) {
      flush_output();
      (void)report(options_, verdict);
      over_ = verdict.status == Status::gone;  // no service is left
    } else if (options_.json) {
      print_json(verdict.json(slot.number));
    } else {
      print_text("\n");
      flush_output();
      (void)report(options_, verdict);
    }
  }

  Options options_;
  os::SignalReader signals_;
  Loop loop_;
  std::deque<Content> requests_;
  bool from_stdin_;
  Handle handle_;
  LogFollower logs_;
  Watch signals_watch_, handle_watch_;
  std::optional<LineReader> lines_;
  std::deque<SharedSlot> slots_;
  std::size_t bytes_ = 0, asked_ = 0, answered_ = 0;
  std::exception_ptr input_lost_;
  Status status_ = Status::done;
  int interrupted_ = 0;
  bool over_ = false, has_gone_ = false;
};

}  // namespace

int run(const Options& options) {
  // All requests are checked before the service is started.
  std::vector<Content> requests;
  for (const std::string& word : options.words) requests.push_back(json_from(word, "request"));
  return Run(options, std::move(requests)).go();
}

}  // namespace ipcm::launcher
