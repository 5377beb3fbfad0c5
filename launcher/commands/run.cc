// ipcm run: a fresh bus, one service, requests in order, answers in order, and nothing is left.

#include <sys/epoll.h>

#include <csignal>
#include <cstdio>
#include <deque>
#include <optional>

#include "commands/commands.h"
#include "line_reader.h"
#include "log_follower.h"
#include "loop/loop.h"
#include "os/signals.h"
#include "report.h"

namespace ipcm::launcher {
namespace {

/// So many requests are under way at once: enough to keep both sides busy, few enough to bound memory.
constexpr std::size_t kWindow = 256;
constexpr std::size_t kWindowBytes = 8UL * 1024 * 1024;

class Run {
 public:
  Run(const Options& options, std::vector<Content> requests)
      : options_(options),
        signals_({SIGINT, SIGTERM, SIGHUP}),
        requests_(std::make_move_iterator(requests.begin()), std::make_move_iterator(requests.end())),
        from_stdin_(options.words.empty()),
        handle_(ipcm_service_begin(options.class_name, service_options(options))),
        logs_(loop_, handle_.info()) {
    signals_watch_ = loop_.watch(signals_.fd(), EPOLLIN, [this](std::uint32_t) {
      while (const auto receipt = signals_.next()) interrupted_ = receipt->signal;
    });
    handle_watch_ = loop_.watch(handle_.fd(), EPOLLIN, [this](std::uint32_t) { handle_.dispatch(); });
    if (from_stdin_) lines_.emplace(loop_);
    options_.bus = handle_.info().text();  // whose logs an error quotes
  }

  int go() {
    loop_.run_until([this] { return interrupted_ != 0 || handle_.ready(); }, os::Deadline::never());
    if (interrupted_ == 0) {
      tell(options_, "service '" + options_.class_name + "' is process " +
                         std::to_string(handle_.service_pid().value_or(0)) + ", ready after " +
                         readable_milliseconds(handle_.time_to_ready()) + ", on the bus " +
                         handle_.info().text());
      ask_all();
    }
    const auto began = os::Clock::now();
    logs_.hold();
    const auto ended = handle_.shutdown();
    logs_.finish();
    tell(options_, std::to_string(asked_) + " requests, " + std::to_string(answered_) +
                       " answers; the service " + (ended ? ended->describe() : "ended") +
                       ", the bus was taken down in " + readable_milliseconds(os::Clock::now() - began));
    return interrupted_ != 0 ? 128 + interrupted_ : number(status_);
  }

 private:
  struct Slot {
    std::size_t number;
    std::size_t bytes;
    std::optional<Response> response;
    os::Deadline deadline;
  };

  void ask_all() {
    while (interrupted_ == 0 && !over_) {
      send_more();
      if (print_ready() && !over_) continue;  // there is room again, and lines may be here already
      if (over_ || (slots_.empty() && requests_.empty() && (!lines_ || lines_->at_end()))) break;
      const os::Deadline deadline = slots_.empty() ? os::Deadline::never() : slots_.front()->deadline;
      if (!loop_.turn(deadline) && deadline.has_passed() && !slots_.front()->response) {
        flush_output();
        throw Timeout("request " + std::to_string(slots_.front()->number) + ": '" + options_.class_name +
                      "' has not answered within the time given by --timeout");
      }
    }
    flush_output();
    if (wrong_line_) std::rethrow_exception(wrong_line_);
  }

  void send_more() {
    while (slots_.size() < kWindow && bytes_ < kWindowBytes && !wrong_line_) {
      if (requests_.empty() && !read_line()) return;
      const Content request = std::move(requests_.front());
      requests_.pop_front();
      // Shared with the callback, which may come after we have given up.
      auto slot = std::make_shared<Slot>(
          Slot{++asked_, request.json().size(), {}, os::Deadline::limit(options_.limit(kNoLimit))});
      bytes_ += slot->bytes;
      slots_.push_back(slot);
      handle_.send_request(request, [slot](const Response& response) { slot->response = response; });
    }
  }

  bool read_line() {
    std::string line;
    while (lines_ && lines_->next(line)) {
      ++line_number_;
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      try {
        requests_.push_back(json_from(line, "line " + std::to_string(line_number_) + " of stdin"));
        return true;
      } catch (const UsageError&) {
        wrong_line_ = std::current_exception();  // told when what came before has been answered
        lines_.reset();
        return false;
      }
    }
    return false;
  }

  /// Whether anything was done.
  bool print_ready() {
    const std::size_t before = slots_.size();
    while (!slots_.empty() && slots_.front()->response) {
      const Response response = std::move(*slots_.front()->response);
      const std::size_t number_of_request = slots_.front()->number;
      bytes_ -= slots_.front()->bytes;
      slots_.pop_front();
      const auto numbered = [&](const Error& error) {
        return std::string(error.what()) + " (request " + std::to_string(number_of_request) + ")";
      };
      try {
        print_answer(response);
        ++answered_;
      } catch (const OutputLost&) {
        throw;
      } catch (const RemoteError& error) {
        report(RemoteError(error.peer(), numbered(error)));
      } catch (const AnswerIsBytes& error) {
        report(AnswerIsBytes(numbered(error)));
      } catch (...) {
        flush_output();
        status_ = report_error(options_);
        over_ = true;  // nobody is left to ask
        return true;
      }
    }
    const bool done = slots_.size() < before;
    if (done && (slots_.empty() || from_stdin_)) flush_output();
    return done;
  }

  /// The others are asked all the same.
  template <class E>
  void report(const E& error) {
    flush_output();
    try {
      throw error;
    } catch (...) {
      status_ = report_error(options_);
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
  std::deque<std::shared_ptr<Slot>> slots_;
  std::size_t bytes_ = 0, asked_ = 0, answered_ = 0, line_number_ = 0;
  std::exception_ptr wrong_line_;
  Status status_ = Status::done;
  int interrupted_ = 0;
  bool over_ = false;
};

}  // namespace

int run(const Options& options) {
  // All that can be wrong is found before anything is started.
  std::vector<Content> requests;
  for (const std::string& word : options.words) requests.push_back(json_from(word, "request"));
  return Run(options, std::move(requests)).go();
}

}  // namespace ipcm::launcher
