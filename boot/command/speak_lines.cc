// speak "lines": long-lived programs. Each request is one line of JSON on stdin, and the next line on stdout is its answer.
// A program works on one request at a time; `jobs` of them run in parallel.
//
// A program that breaks this order is ended and started again: after a line that nobody asked for, or one that is no
// JSON, each later answer could belong to the request before.

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "command/kept_program.h"
#include "command/payload.h"
#include "command/speaker.h"
#include "command/waiting_requests.h"
#include "ipcm/error.h"
#include "launch/explain.h"
#include "wire/printable.h"

namespace ipcm::command {
namespace {

using State = KeptProgram::State;

class Lines final : public Speaker {
 public:
  explicit Lines(Host& host) : host_(host), plan_(host.plan()), waiting_(plan_.queue) {
    for (std::size_t i = 0; i < plan_.jobs; ++i) workers_.push_back(std::make_unique<Worker>(*this));
  }

  void start() override {
    for (const auto& worker : workers_) worker->kept.start();
  }

  bool is_ready() override {
    bool all = true;
    for (const auto& worker : workers_) {
      if (worker->kept.state() == State::failed) throw Error(worker->kept.why());
      all &= worker->kept.state() == State::ready;
    }
    return all;
  }

  void receive(Request&& request) override {
    for (const auto& worker : workers_)
      if (worker->is_free()) return give(*worker, std::move(request));
    if (!waiting_.put(request)) host_.fail(request, waiting_.refusal());
  }

  void process() override {
    for (const auto& worker : workers_) {
      take_line(*worker);  // also the last answer of a program that has ended
      worker->kept.process();
      if (std::exchange(worker->is_late, false)) look_at_time(*worker);
    }
    for (const auto& worker : workers_)
      while (!waiting_.empty() && worker->is_free()) give(*worker, waiting_.take());
    end_if_over();
  }

 private:
  struct Worker {
    explicit Worker(Lines& owner)
        : kept(owner.host_, Program::Stdin::pipe,
               [this, &owner](const std::string& why) { owner.lost(*this, why); }) {}
    [[nodiscard]] bool is_free() {
      return !request && kept.state() == State::ready && !kept.program().has_closed_output() &&
             !kept.program().has_ended();
    }

    KeptProgram kept;
    std::optional<Request> request;
    std::size_t searched = 0;  // bytes of output without a newline
    os::Clock::time_point due{};
    Watch timer, closing_timer;
    bool is_timed = false, is_late = false, is_closed = false;
  };

  void give(Worker& worker, Request&& request) {
    worker.request.emplace(std::move(request));
    try {
      std::string line = line_for_program(std::move(*worker.request).take(), plan_.raw);
      line.push_back('\n');
      worker.searched = 0;
      limit(worker);
      worker.kept.program().write(std::move(line));
    } catch (const Error& error) {
      host_.fail(taken_from(worker), error.what());
    }
  }

  /// Takes the request away from a worker: it is about to be answered.
  static Request taken_from(Worker& worker) {
    Request request = std::move(*worker.request);
    worker.request.reset();
    return request;
  }

  /// The timer runs on after an answer, and is set again when it fires: most requests touch no timer.
  void limit(Worker& worker) {
    if (plan_.timeout == kNoLimit) return;
    worker.due = os::from_now(plan_.timeout);
    if (!worker.is_timed) set_timer(worker);
  }

  void set_timer(Worker& worker) {
    worker.is_timed = true;
    worker.timer = host_.loop().at(worker.due, [this, &worker] {
      worker.is_timed = false;
      worker.is_late = true;
      host_.wake();
    });
  }

  void look_at_time(Worker& worker) {
    if (!worker.request) return;
    if (os::Clock::now() >= worker.due)
      return worker.kept.give_up(naming(plan_) + " did not answer within " +
                                 launch::readable_span(plan_.timeout) + " (timeout), and was ended" +
                                 worker.kept.program().last_words());
    set_timer(worker);
  }

  void take_line(Worker& worker) {
    if (worker.kept.state() != State::ready) return;
    Program& program = worker.kept.program();
    const std::string_view output = program.output();
    if (output.empty()) return look_at_end(worker);
    if (!worker.request) {
      const std::string unasked(output);
      program.drop_output(output.size());
      host_.output_log().write(unasked);
      constexpr std::size_t kShown = 200;
      return worker.kept.give_up(naming(plan_) + " printed a line that nobody asked for ('" +
                                 wire::printable(unasked, kShown) + "'), and was ended");
    }
    const auto newline = output.find('\n', worker.searched);
    worker.searched = output.size();
    const std::size_t length = std::min(newline, output.size());
    if (length > plan_.max_output)
      return worker.kept.give_up(naming(plan_) + " printed a line of more than " +
                                 std::to_string(plan_.max_output) + " bytes (max_output), and was ended");
    if (newline == std::string_view::npos) return;
    answer(worker, program, output.substr(0, length));
  }

  /// A program that ends closes its stdout first; its exit status says more.
  void look_at_end(Worker& worker) {
    constexpr auto kTimeToEnd = std::chrono::seconds(1);
    Program& program = worker.kept.program();
    if (!program.has_closed_output() || program.has_ended()) return;
    if (worker.is_closed)
      return worker.kept.give_up(naming(plan_) + " has closed its stdout, and was ended" +
                                 program.last_words());
    if (!worker.closing_timer)
      worker.closing_timer = host_.loop().at(os::from_now(kTimeToEnd), [this, &worker] {
        worker.is_closed = true;
        host_.wake();
      });
  }

  void answer(Worker& worker, Program& program, std::string_view line) {
    std::string failure;
    Content content;
    try {
      content = answer_of_program(line, plan_.raw);
    } catch (const Error& error) {
      failure = error.what();
    }
    program.drop_output(line.size() + 1);
    if (!failure.empty())
      return worker.kept.give_up(naming(plan_) + " " + failure + ", and was ended" + program.last_words());
    host_.answer(taken_from(worker), content);
    // It must not have printed more: that would be taken for the next answer.
    if (!program.output().empty()) take_line(worker);
  }

  /// The program of a worker has ended, or was given up. If it does not start any more, nobody waits for it.
  void lost(Worker& worker, const std::string& why) {
    worker.timer.stop();
    worker.closing_timer.stop();
    worker.is_timed = worker.is_late = worker.is_closed = false;
    host_.complain(why);
    if (!worker.request) {
      if (!waiting_.empty() && none_may_serve()) host_.fail(waiting_.take(), why);
      return;
    }
    host_.fail(taken_from(worker), why);
  }

  /// Whether no program runs or starts: each attempt then fails one request that waits.
  [[nodiscard]] bool none_may_serve() const {
    return std::all_of(workers_.begin(), workers_.end(), [](const auto& worker) {
      return worker->kept.state() == State::resting || worker->kept.state() == State::over;
    });
  }

  void end_if_over() {
    for (const auto& worker : workers_)
      if (worker->kept.state() != State::over) return;
    const auto& status = workers_.front()->kept.status();
    while (!waiting_.empty()) host_.fail(waiting_.take(), workers_.front()->kept.why());
    host_.end_service(status ? status->shell_status() : 0);
  }

  Host& host_;
  const Plan& plan_;
  WaitingRequests waiting_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace

std::unique_ptr<Speaker> speak_lines(Host& host) { return std::make_unique<Lines>(host); }

}  // namespace ipcm::command
