#pragma once

#include <functional>
#include <new>
#include <string>

#include "ipcm/error.h"
#include "loop/loop.h"

namespace ipcm {

/// For steps of a loop that may fail because the system is short of something (descriptors, memory, watches),
/// and that work again later. The first failure of a row is reported; after a pause, which doubles up to a
/// few seconds, the step is tried again.
class Recovery {
 public:
  /// `report` is told what failed; `again` is called after the pause.
  Recovery(Loop& loop, std::function<void(const std::string&)> report, std::function<void()> again)
      : loop_(loop), report_(std::move(report)), again_(std::move(again)) {}

  /// Runs the step. false: it failed, and will be tried again.
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
  /// The same for a step that has told by itself that it failed.
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
