// ready "exec:CMD": a shell command succeeds. It runs with the environment, the directory and the user of the program, again
// and again at growing intervals; one run at a time, each for ten seconds at most. Its output goes to the log.

#include <algorithm>
#include <string>
#include <utility>

#include "command/readiness.h"
#include "ipcm/error.h"

namespace ipcm::command {
namespace {

constexpr Duration kFirstPause = std::chrono::milliseconds(50), kLongestPause = std::chrono::seconds(1),
                   kLongestRun = std::chrono::seconds(10);

class Check final : public Readiness {
 public:
  explicit Check(Host& host) : host_(host) {}

  void watch(Program&) override { rest(); }

  bool look(Program& program) override {
    if (std::exchange(is_due_, false)) begin();
    if (!check_) return false;
    host_.output_log().write(check_->output());
    check_->drop_output(check_->output().size());
    if (std::exchange(is_late_, false)) check_->stop();
    if (!check_->has_ended()) return false;
    const bool is_ready = check_->status() && check_->status()->success();
    program.note_words("[the check " + check_->describe_end() + "]\n");
    check_.reset();
    if (!is_ready) rest();
    return is_ready;
  }

 private:
  void rest() {
    timer_ = host_.loop().at(os::from_now(wait_), [this] {
      is_due_ = true;
      host_.wake();
    });
    wait_ = std::min(wait_ * 2, kLongestPause);
  }

  void begin() {
    os::SpawnRequest request = host_.plan().spawn;
    request.program = "/bin/sh";
    request.args = {"sh", "-c", host_.plan().ready.text};
    check_ = std::make_unique<Program>(host_, request, Program::Stdin::inherited);
    timer_ = host_.loop().at(os::from_now(kLongestRun), [this] {
      is_late_ = true;
      host_.wake();
    });
  }

  Host& host_;
  std::unique_ptr<Program> check_;
  Duration wait_ = kFirstPause;
  Watch timer_;
  bool is_due_ = false, is_late_ = false;
};

}  // namespace

std::unique_ptr<Readiness> ready_exec(Host& host) { return std::make_unique<Check>(host); }

}  // namespace ipcm::command
