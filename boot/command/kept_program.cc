#include "command/kept_program.h"

#include <algorithm>
#include <utility>

#include "ipcm/error.h"

namespace ipcm::command {
namespace {

constexpr Duration kFirstRest = std::chrono::milliseconds(100), kLongestRest = std::chrono::seconds(10),
                   kLongLife = std::chrono::seconds(1);

}  // namespace

void KeptProgram::start() { begin(); }

void KeptProgram::begin() {
  state_ = State::starting;
  is_given_up_ = is_told_ = false;
  status_.reset();
  try {
    readiness_ = make_readiness(host_);
    os::SpawnRequest request = host_.plan().spawn;
    readiness_->prepare(request);
    program_ = std::make_unique<Program>(host_, request, input_);
    readiness_->watch(*program_);
    limit_start(host_.plan().start_timeout);
    host_.wake();
  } catch (const Error& error) {
    why_ = error.what();
    ended();
  }
}

void KeptProgram::process() {
  if (state_ == State::resting && std::exchange(is_rested_, false)) begin();
  if (state_ != State::starting && state_ != State::ready) return;
  if (!is_given_up_) {
    try {
      if (state_ == State::starting)
        await_ready();
      else
        readiness_->supervise(*program_);
    } catch (const Error& error) {
      give_up(error.what());
    }
  }
  if (!program_->has_ended()) return;
  const bool is_done = state_ == State::starting && !is_given_up_ && readiness_->ends_well() &&
                       program_->status() && program_->status()->success();
  status_ = program_->status();
  if (!is_given_up_)
    why_ = naming(host_.plan()) + " " +
           program_->describe_end(state_ == State::starting && !is_done ? ", before it was ready" : "");
  if (is_done) {
    was_ready_ = true;
    state_ = State::over;
    return;
  }
  ended();
}

void KeptProgram::await_ready() {
  if (readiness_->look(*program_)) {
    state_ = State::ready;
    was_ready_ = true;
    ready_since_ = os::Clock::now();
    start_timer_.stop();
    return;
  }
  if (!readiness_->reads_output() && !program_->output().empty()) {
    const std::string chatter = program_->take_output();
    host_.output_log().write(chatter);
    program_->note_words(chatter);
  }
  if (const auto more = readiness_->more_time()) limit_start(*more);
  if (is_late_ && !program_->has_ended())
    give_up(naming(host_.plan()) + " was not ready within its time (start_timeout), and was ended" +
            program_->last_words());
}

void KeptProgram::limit_start(Duration span) {
  is_late_ = false;
  start_timer_.stop();
  if (span == kNoLimit) return;
  start_timer_ = host_.loop().at(os::from_now(span), [this] {
    is_late_ = true;
    host_.wake();
  });
}

void KeptProgram::give_up(const std::string& why) {
  if (is_given_up_) return;
  is_given_up_ = true;
  why_ = why;
  is_told_ = state_ == State::ready;
  state_ = State::starting;  // not ready any more
  program_->stop();
  if (is_told_) on_end_(why);
}

void KeptProgram::ended() {
  const bool was_in_use = state_ == State::ready;
  start_timer_.stop();
  const bool lived_long = was_in_use && os::Clock::now() - ready_since_ >= kLongLife;
  readiness_.reset();
  program_.reset();
  if (!was_ready_) {
    state_ = State::failed;
    return;
  }
  const Restart restart = host_.plan().restart;
  const bool again =
      restart == Restart::always || (restart == Restart::on_failure && !(status_ && status_->success()));
  wait_ = lived_long ? Duration::zero() : std::clamp(wait_ * 2, kFirstRest, kLongestRest);
  state_ = again ? State::resting : State::over;
  if (!is_told_) on_end_(why_);
  if (again) rest();
}

void KeptProgram::rest() {
  is_rested_ = wait_ == Duration::zero();
  if (is_rested_)
    host_.wake();
  else
    rest_timer_ = host_.loop().at(os::from_now(wait_), [this] {
      is_rested_ = true;
      host_.wake();
    });
}

}  // namespace ipcm::command
