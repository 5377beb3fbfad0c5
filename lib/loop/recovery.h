#pragma once

#include <functional>
#include <new>
#include <string>

#include "ipcm/error.h"
#include "loop/loop.h"

namespace ipcm {

/// Repeats a step of a loop that fails because the system is short of something (descriptors, memory,
/// watches). Reports the first failure of a row, and tries the step again after a pause that doubles up to a
/// few seconds.
class Recovery {
 public:
  /// Calls `report` with the reason of a failure, and `again` after the pause.
  Recovery(Loop& loop, std::function<void(const std::string&)> report, std::function<void()> again)
      : loop_(loop), report_(std::move(report)), again_(std::move(again)) {}

  /// Runs the step. Returns false if it failed; it will be tried again.
  template <class Step>
  bool attempt(Step&& step) {
    try {
      step();
    } catch (const SystemError& error) {
      failed(error.what());
      return false;
    } catch (const std::bad_alloc&) {
      failed("no memory is left");
      return false;
    }
    if (pause_ != Duration::zero()) succeeded();
    return true;
  }
  /// The same, for a step that reports its failure itself.
  void failed(const std::string& why);
  void succeeded();
  [[nodiscard]] bool is_waiting() const { return static_cast<bool>(waiting_); }

 private:
  Loop& loop_;
  std::function<void(const std::string&)> report_;
  std::function<void()> again_;
  Duration pause_ = Duration::zero();  // zero: the last step succeeded
  Watch waiting_;
};

}  // namespace ipcm
