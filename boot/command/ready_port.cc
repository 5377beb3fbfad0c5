// ready "port:N": the program accepts TCP connections at port N of the loopback addresses. The kernel reports no such
// event, so the service tries to connect, at growing intervals.

#include <algorithm>
#include <string>

#include "command/readiness.h"
#include "ipcm/error.h"
#include "os/socket.h"

namespace ipcm::command {
namespace {

constexpr Duration kFirstInterval = std::chrono::milliseconds(5),
                   kLongestInterval = std::chrono::milliseconds(250);

class Port final : public Readiness {
 public:
  explicit Port(Host& host) : host_(host), number_(host.plan().ready.number) {}

  void prepare(os::SpawnRequest&) override {
    if (os::is_port_open(number_))
      throw Error(naming(host_.plan()) + " was not started: port " + std::to_string(number_) +
                  " is open already, so another process serves there (ready is 'port')");
  }

  void watch(Program&) override { wait(); }
  bool look(Program&) override { return is_ready_; }

 private:
  void wait() {
    timer_ = host_.loop().at(os::from_now(wait_), [this] {
      is_ready_ = os::is_port_open(number_);
      wait_ = std::min(wait_ * 2, kLongestInterval);
      if (is_ready_)
        host_.wake();
      else
        wait();
    });
  }

  Host& host_;
  unsigned number_;
  Duration wait_ = kFirstInterval;
  Watch timer_;
  bool is_ready_ = false;
};

}  // namespace

std::unique_ptr<Readiness> ready_port(Host& host) { return std::make_unique<Port>(host); }

}  // namespace ipcm::command
