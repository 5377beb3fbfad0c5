// ready "notify": the protocol of sd_notify(3). Each program gets a socket of its own in NOTIFY_SOCKET. A message counts only
// if the kernel names a sender that is a descendant of this service: any process can send to that address.
//
// With "notify:SECONDS", the program also gets WATCHDOG_USEC, and must send WATCHDOG=1 in each period after it is ready.

#include <sys/epoll.h>

#include <array>
#include <optional>
#include <string>
#include <utility>

#include "command/notification.h"
#include "command/readiness.h"
#include "ipcm/error.h"
#include "launch/explain.h"
#include "os/process_tree.h"
#include "os/socket.h"
#include "wire/printable.h"

namespace ipcm::command {
namespace {

constexpr std::size_t kLongestMessage = 4096;
/// Far from the descriptors that programs choose by themselves.
constexpr int kInherited = 100;

class Notify final : public Readiness {
 public:
  explicit Notify(Host& host) : host_(host), period_(host.plan().ready.period) {}

  void prepare(os::SpawnRequest& request) override {
    socket_ = os::bind_unnamed_datagrams();
    if (request.attributes.identity) {
      // Another user may not look at the descriptors of this process.
      request.fds.push_back({socket_.place.get(), kInherited});
      request.env.push_back("NOTIFY_SOCKET=/proc/self/fd/" + std::to_string(kInherited));
    } else {
      request.env.push_back("NOTIFY_SOCKET=" + socket_.address());
    }
    if (period_ == kNoLimit) return;
    const auto period = std::chrono::duration_cast<std::chrono::microseconds>(period_);
    request.env.push_back("WATCHDOG_USEC=" + std::to_string(period.count()));
  }

  void watch(Program& program) override {
    program_ = &program;
    watch_ = host_.loop().watch(socket_.socket.get(), EPOLLIN, [this](std::uint32_t) { read(); });
  }

  bool look(Program&) override {
    if (is_ready_ && !was_ready_) {
      was_ready_ = true;
      expect_sign();
    }
    return is_ready_;
  }

  void supervise(Program& program) override {
    if (!is_silent_ && !is_broken_) return;
    throw Error(naming(host_.plan()) +
                (is_broken_ ? " reported that it is broken (WATCHDOG=trigger)"
                            : " sent no WATCHDOG=1 within " + launch::readable_span(period_)) +
                ", and was ended" + program.last_words());
  }

  [[nodiscard]] std::optional<Duration> more_time() override {
    return std::exchange(more_time_, std::nullopt);
  }

 private:
  void read() {
    std::array<char, kLongestMessage> buffer;  // NOLINT: filled by the kernel
    // Descriptors in a message are closed here; for a BARRIER=1, that is the answer.
    while (const auto datagram = os::take_datagram(socket_.socket.get(), buffer)) {
      const Pid sender = datagram->sender ? datagram->sender->pid : 0;
      if (os::is_descendant(sender))
        take(parse_notification(datagram->bytes));
      else
        host_.complain("a message for its notify socket was dropped: process " + std::to_string(sender) +
                       " is none of its programs, or has ended");
    }
    host_.wake();
  }

  void take(const Notification& told) {
    is_ready_ |= told.ready;
    is_broken_ |= told.is_broken;
    if (told.status) {
      program_->note_words("[status: " + *told.status + "]\n");
      host_.complain("status of its program: " + wire::printable(*told.status));
    }
    if (told.more_time) more_time_ = told.more_time;
    if (told.watchdog) period_ = *told.watchdog;
    if (was_ready_ && (told.alive || told.watchdog)) expect_sign();
  }

  void expect_sign() {
    timer_.stop();
    if (period_ != kNoLimit)
      timer_ = host_.loop().at(os::from_now(period_), [this] {
        is_silent_ = true;
        host_.wake();
      });
  }

  Host& host_;
  Duration period_;
  os::UnnamedSocket socket_;
  Watch watch_, timer_;
  Program* program_ = nullptr;
  std::optional<Duration> more_time_;
  bool is_ready_ = false, was_ready_ = false, is_silent_ = false, is_broken_ = false;
};

}  // namespace

std::unique_ptr<Readiness> ready_notify(Host& host) { return std::make_unique<Notify>(host); }

}  // namespace ipcm::command
