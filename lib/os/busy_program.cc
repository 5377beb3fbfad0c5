#include "os/busy_program.h"

#include <poll.h>
#include <sys/inotify.h>

#include "os/process.h"
#include "os/sys.h"

namespace ipcm::os {
namespace {

constexpr auto kRetryFor = std::chrono::seconds(1);
/// The kernel reports a close a moment before the file stops being busy.
constexpr auto kClosing = std::chrono::milliseconds(2);

}  // namespace

bool is_busy_program(const SpawnFailure& failure) noexcept {
  return failure.step == SpawnStep::execute && failure.error == ETXTBSY;
}

BusyProgram::BusyProgram(std::string path) : path_(std::move(path)), end_(Deadline::after(kRetryFor)) {}

bool BusyProgram::await_change() {
  if (end_.has_passed()) return false;
  if (!watch_) {
    watch_ = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!watch_ || ::inotify_add_watch(watch_.get(), path_.c_str(), IN_CLOSE_WRITE | IN_DELETE_SELF) < 0)
      return false;  // inotify can't watch it: the failure stands
    return true;     // a writer may have closed it before the watch began
  }
  if (!closing_.has_passed()) {
    let_others_run();
    return true;
  }
  pollfd one{watch_.get(), POLLIN, 0};
  if (quiet([&] { return ::poll(&one, 1, end_.poll_timeout()); }) <= 0) return false;
  alignas(inotify_event) char events[4096];  // NOLINT: filled by the kernel
  (void)quiet([&] { return ::read(watch_.get(), events, sizeof events); });
  closing_ = Deadline::after(kClosing);
  return true;
}

}  // namespace ipcm::os
