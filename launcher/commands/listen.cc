// ipcm listen: joins a bus, and prints the messages that it gets, a line each, as `ipcm bridge` does. With --reply it
// also answers requests with the lines of stdin.

#include <sys/epoll.h>

#include <deque>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "bridge/bridge_line.h"
#include "commands/commands.h"
#include "line_reader.h"
#include "loop/loop.h"
#include "os/identity.h"
#include "report.h"

namespace ipcm::launcher {
namespace {

/// The exit code of a service whose bus was removed (docs/boot.md).
constexpr int kBusUnavailable = 69;

ServiceOptions service_options_of_listener() {
  ServiceOptions options;
  options.expose_error_details = true;  // the reason why a request is not answered
  return options;
}

class Listener final : public Service {
 public:
  explicit Listener(const Options& options)
      : Service(ServiceSetup(options.name.empty() ? os::unique_name("listen-") : options.name,
                             options.bus_info(), service_options_of_listener())),
        options_(options) {}

  void on_start() override {
    tell(options_, "listens as '" + name() + "' on the bus " + info().text());
    if (options_.timeout && *options_.timeout != kNoLimit)
      limit_ = loop_.at(os::from_now(*options_.timeout), [this] {
        is_over_ = true;
        terminate();
      });
    if (options_.reply) lines_.emplace(loop_);
    watch(loop_.fd(), Readiness::readable, [this] {
      loop_.drain();
      read_answers();
    });
  }

  Answer take_request(Request&& request) override {
    if (is_complete()) throw Error("it has all that it waited for, and ends");
    BridgeLine line("request");
    line.number("request", ++requests_).text("from", request.from()).content(request.raw());
    if (options_.reply) owed_.push_back(std::move(request));
    print(std::move(line));
    if (!options_.reply) throw Error("it only listens, and answers no requests (--reply)");
    read_answers();
    return later;
  }

  void on_general_message(const Message& message) override {
    if (is_complete())  // it came together with the last one
      client().requeue_message(message);
    else
      print(BridgeLine::of(message));
  }

  /// Throws the error that has ended the service, if there is one.
  void expect_good_end() const {
    if (failure_) std::rethrow_exception(failure_);
    if (is_over_ && options_.count)
      throw Timeout("got " + std::to_string(printed_) + " of " + std::to_string(*options_.count) +
                    " messages");
  }

 private:
  /// An error ends the service: in take_request() it would only be the answer.
  void print(BridgeLine line) {
    try {
      print_json(line.take());
      flush_output();
    } catch (const OutputLost&) {
      failure_ = std::current_exception();
      terminate();
      return;
    }
    ++printed_;
    end_if_complete();
  }

  [[nodiscard]] bool is_complete() const { return options_.count && printed_ >= *options_.count; }
  void end_if_complete() {
    if (is_complete() && owed_.empty()) terminate();
  }

  /// Answers the requests for which there are lines. A line that comes before its request waits.
  void read_answers() {
    if (!lines_) return;
    for (;;) {
      if (!answer_) {
        std::string line;
        const auto next = lines_->next(line);
        if (next == LineReader::Next::none && lines_->at_end()) return end_with_input();
        if (next == LineReader::Next::none && lines_->is_ready()) continue;
        if (next == LineReader::Next::none) return;
        ++line_;
        answer_ = next == LineReader::Next::too_long ? std::string() : std::move(line);
      }
      if (owed_.empty()) return;
      const Request request = std::move(owed_.front());
      owed_.pop_front();
      answer(request, *std::exchange(answer_, std::nullopt));
      end_if_complete();
    }
  }

  void answer(const Request& request, const std::string& line) {
    try {
      const bool is_blank = line.find_first_not_of(" \t\r") == std::string::npos;
      if (is_blank) return send_error(request, "it has no answer");
      const std::string name = "line " + std::to_string(line_) + " of stdin";
      try {
        send_response(request, json_from(line, name, line_));
      } catch (const UsageError& error) {
        complain(error.what());
        send_error(request, error.what());
      }
    } catch (const PeerGone& gone) {
      tell(options_, gone.what());  // it does not wait any more
    }
  }

  void end_with_input() {
    for (; !owed_.empty(); owed_.pop_front()) answer(owed_.front(), {});
    terminate();
  }

  const Options& options_;
  Loop loop_;  // inside the loop of the service
  std::optional<LineReader> lines_;
  Watch limit_;
  std::deque<Request> owed_;
  std::optional<std::string> answer_;  // a line of stdin that no request has got yet
  std::int64_t requests_ = 0;
  std::size_t line_ = 0, printed_ = 0;
  bool is_over_ = false;
  std::exception_ptr failure_;
};

}  // namespace

int listen(const Options& options) {
  Listener listener(options);
  const int status = listener.run();
  listener.expect_good_end();
  return status == kBusUnavailable ? number(Status::gone) : status;
}

}  // namespace ipcm::launcher
