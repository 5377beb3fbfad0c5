#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "command/host.h"
#include "command/program.h"
#include "command/readiness.h"
#include "loop/loop.h"

namespace ipcm::command {

/// A program that is kept running: it is started, becomes ready, and is started again after its end, if the plan says so.
///
///     starting → ready → (end) → resting → starting …      failed: its first start; over: it is not started again
///
/// The wait before a restart doubles from 100 ms to 10 s with each program that ends within a second after it was ready,
/// or before; after a longer life there is none.
class KeptProgram {
 public:
  enum class State { starting, ready, resting, failed, over };

  /// on_end: gets the reason when the program has ended after it was ready, or when a restart has failed.
  KeptProgram(Host& host, Program::Stdin input, std::function<void(const std::string& why)> on_end)
      : host_(host), input_(input), on_end_(std::move(on_end)) {}

  /// Starts it for the first time. A failure shows in the state.
  void start();
  /// Reacts to the events of the last turn.
  void process();

  [[nodiscard]] State state() const { return state_; }
  /// The running program. Call it in the state ready only.
  [[nodiscard]] Program& program() { return *program_; }
  /// Ends the program for this reason: it can't be used any more. It is then started again.
  void give_up(const std::string& why);

  /// Why the last program ended or was not started; for the states failed and over.
  [[nodiscard]] const std::string& why() const { return why_; }
  /// The exit status of the last program, if it is known.
  [[nodiscard]] const std::optional<ExitStatus>& status() const { return status_; }

 private:
  void begin();
  void await_ready();
  void limit_start(Duration span);
  void ended();
  void rest();

  Host& host_;
  Program::Stdin input_;
  std::function<void(const std::string& why)> on_end_;
  State state_ = State::starting;
  std::unique_ptr<Program> program_;  // before readiness_, which refers to it
  std::unique_ptr<Readiness> readiness_;
  bool was_ready_ = false;  // any of them
  bool is_given_up_ = false, is_told_ = false;
  std::string why_;
  std::optional<ExitStatus> status_;
  os::Clock::time_point ready_since_{};
  Duration wait_ = Duration::zero();
  bool is_rested_ = false, is_late_ = false;
  Watch rest_timer_, start_timer_;
};

}  // namespace ipcm::command
