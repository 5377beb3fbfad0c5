#include "loop/recovery.h"

#include <algorithm>

#include "os/clock.h"

namespace ipcm {
namespace {

constexpr Duration kFirstPause = std::chrono::milliseconds(50), kLongestPause = std::chrono::seconds(5);

}  // namespace

void Recovery::failed(const std::string& why) {
  const bool is_first = pause_ == Duration::zero();
  pause_ = is_first ? kFirstPause : std::min(pause_ * 2, kLongestPause);
  waiting_ = loop_.at(os::from_now(pause_), [this] {
    waiting_.stop();
    again_();
  });
  if (is_first) report_(why);
}

void Recovery::succeeded() {
  pause_ = Duration::zero();
  waiting_.stop();
}

}  // namespace ipcm
