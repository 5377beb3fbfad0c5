// ready "fd:N": as with s6, the program writes a newline to descriptor N, which it inherits, and closes it.

#include <sys/epoll.h>

#include <string>

#include "command/readiness.h"
#include "ipcm/error.h"
#include "os/pipe.h"

namespace ipcm::command {
namespace {

constexpr std::size_t kLongestText = 4096;

class Descriptor final : public Readiness {
 public:
  explicit Descriptor(Host& host) : host_(host), number_(static_cast<int>(host.plan().ready.number)) {}

  void prepare(os::SpawnRequest& request) override {
    pipe_ = os::make_pipe();
    request.fds.push_back({pipe_.write_end.get(), number_});
  }

  void watch(Program&) override {
    pipe_.write_end.reset();  // so that the end of the program's copies is seen
    os::set_nonblocking(pipe_.read_end.get());
    watch_ = host_.loop().watch(pipe_.read_end.get(), EPOLLIN, [this](std::uint32_t) { read(); });
  }

  bool look(Program& program) override {
    if (is_ready_ || !is_over_ || program.has_ended()) return is_ready_;
    throw Error(naming(host_.plan()) + " closed descriptor " + std::to_string(number_) +
                " without a newline (ready is 'fd'), and was ended" + program.last_words());
  }

 private:
  void read() {
    const auto result =
        os::read_some(pipe_.read_end.get(), text_, kLongestText, "the ready pipe of a program");
    is_ready_ = text_.find('\n') != std::string::npos;
    is_over_ = is_ready_ || result == os::ReadResult::end || text_.size() > kLongestText;
    if (!is_over_) return;
    watch_.stop();
    pipe_.read_end.reset();
    host_.wake();
  }

  Host& host_;
  int number_;
  os::Pipe pipe_;
  Watch watch_;
  std::string text_;
  bool is_ready_ = false, is_over_ = false;
};

}  // namespace

std::unique_ptr<Readiness> ready_fd(Host& host) { return std::make_unique<Descriptor>(host); }

}  // namespace ipcm::command
