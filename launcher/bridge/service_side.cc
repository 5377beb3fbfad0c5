#include "bridge/service_side.h"

#include <sys/epoll.h>

#include <charconv>
#include <csignal>
#include <memory>
#include <utility>

#include "ipcm/boot.h"
#include "ipcm/launch.h"
#include "os/directory.h"
#include "os/process.h"

namespace ipcm::launcher {
namespace {

/// The time that a launched program has to end after `end`, and again after SIGTERM.
constexpr auto kProgramPatience = std::chrono::seconds(5);
/// The exit status of a service that threw (docs/boot.md).
constexpr int kServiceThrew = 70;

}  // namespace

/// The place of the bridge on the bus.
class ServiceSide::BridgedService final : public Service {
 public:
  BridgedService(ServiceSetup setup, std::string class_name, Content args, ServiceSide& side)
      : Service(std::move(setup)), class_name_(std::move(class_name)), args_(std::move(args)), side_(side) {}

  void on_start() override {
    side_.bridge_.tell(BridgeLine("joined")
                           .number("bridge", 1)
                           .text("name", name())
                           .text("bus", info().text())
                           .number("pid", os::own_pid())
                           .text("class", class_name_)
                           .value("args", args_)
                           .json("start", "true"));
    side_.start(*this);
  }
  Answer take_request(Request&& request) override {
    side_.bridge_.tell_request(std::move(request));
    return later;
  }
  void on_general_message(const Message& message) override { side_.bridge_.tell_message(message); }
  void on_activity(const Activity& activity) override {
    if (!activity.peer_delta.empty()) side_.bridge_.tell_peers(activity.peer_delta);
    if (activity.terminated)
      side_.why_ = activity.sigs.contains(SIGTERM)  ? "SIGTERM"
                   : activity.sigs.contains(SIGINT) ? "SIGINT"
                   : !activity.pid_watch.empty()    ? "its launcher has ended"
                                                    : "it was asked to terminate";
    side_.bridge_.channel().flush();
    side_.after_writing();
  }
  void on_cleanup() override {
    side_.bridge_.channel().begin_to_end();
    side_.bridge_.read_rest();
  }

 private:
  std::string class_name_;
  Content args_;
  ServiceSide& side_;
};

ServiceSide::ServiceSide(Channel channel, Duration limit) : bridge_(std::move(channel), *this, limit) {
  if (!bridge_.channel().can_wait_for_input())
    throw UsageError("the input of a service's bridge must be a pipe or a socket, not a file");
  if (const auto parent = os::parent_of(os::own_pid()))
    if (auto process = os::open_process(*parent)) program_ = std::move(*process);
}

int ServiceSide::boot(const std::vector<std::string>& arguments) {
  was_launched_ = true;
  // The boot takes the leash; while the program does not read, nobody else watches it.
  if (const auto number = os::environment("IPCM_LEASH_FD")) {
    int fd = -1;
    (void)std::from_chars(number->data(), number->data() + number->size(), fd);
    if (fd > 2 && os::is_open(fd)) leash_ = os::duplicate(fd);
  }
  std::vector<std::string> words = {"ipcm bridge --serve --"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  Registry registry;
  registry.add_fallback("a program behind a bridge", [this](ServiceSetup setup, const Content& args) {
    std::string class_name = setup.class_name();
    return std::make_unique<BridgedService>(std::move(setup), std::move(class_name), args, *this);
  });
  return finish(ipcm::boot(static_cast<int>(words.size()), argv.data(), registry));
}

int ServiceSide::run(const std::string& name, const BusInfo& info) {
  BridgedService service(ServiceSetup(name, info, {}), {}, {}, *this);
  try {
    return finish(service.run());
  } catch (const Error& error) {
    if (service_ == nullptr) {  // not on the bus: the caller reports it, too
      bridge_.tell_failure();
      bridge_.channel().finish();
      throw;
    }
    end(error.what(), kServiceThrew);
    return finish(kServiceThrew);
  }
}

void ServiceSide::start(BridgedService& service) {
  service_ = &service;
  signals_.emplace(std::vector<int>{SIGTERM, SIGINT});
  std::vector<int> ends = {signals_->fd()};
  if (program_) ends.push_back(program_.get());
  if (leash_) ends.push_back(leash_.get());
  Channel& channel = bridge_.channel();
  channel.break_off(ends);
  // The service turns its own loop only after its start; this loop has it inside.
  Loop loop;
  bool is_over = false, has_input = false, writes = false;
  std::vector<Watch> watches;
  watches.push_back(loop.watch(service.client().fd(), EPOLLIN, [](std::uint32_t) {}));
  watches.push_back(loop.watch(bridge_.timer_fd(), EPOLLIN, [this](std::uint32_t) { bridge_.time_out(); }));
  for (const int fd : ends)
    watches.push_back(loop.watch(fd, EPOLLIN, [&](std::uint32_t) { is_over = true; }));
  Watch in = loop.watch(channel.in(), EPOLLIN, [&](std::uint32_t) {
    has_input = true;
    in.want(0);
  });
  Watch out;
  while (!ready_ && !failed_ && !is_over && !channel.is_broken()) {
    channel.flush();
    if (std::exchange(writes, channel.waiting() > 0) != writes)
      out = writes ? loop.watch(channel.out(), EPOLLOUT, [&](std::uint32_t) { channel.flush(); }) : Watch();
    const bool reads = bridge_.has_room() && (has_input || bridge_.has_lines());
    loop.turn(reads ? os::Deadline::passed() : os::Deadline::never());
    service.client().dispatch();
    if (reads) {
      bridge_.read();
      has_input = false;
      if (channel.has_ended() && !bridge_.has_lines()) break;
      in.want(EPOLLIN);
    }
  }
  channel.flush();
  if (failed_) throw Error(*failed_);
  if (!ready_) {
    why_ = is_over ? "it was ended during its start" : "the program ended before it was ready";
    throw Error(*why_);
  }
  watch_all();
}

void ServiceSide::watch_all() {
  serves_ = true;
  service_->watch(bridge_.timer_fd(), Readiness::readable, [this] { bridge_.time_out(); });
  if (program_)
    service_->watch(program_.get(), Readiness::readable, [this] { end("the program has ended", 0); });
  choose_events();
}

void ServiceSide::read() {
  bridge_.read();
  choose_events();
}

void ServiceSide::after_writing() {
  if (serves_) choose_events();
}

void ServiceSide::choose_events() {
  Channel& channel = bridge_.channel();
  if (channel.is_broken()) return end("the program does not read any more", 0);
  if (channel.has_ended() && !bridge_.has_lines()) return end("the program has closed its end", 0);
  const bool reads = bridge_.has_room() && !bridge_.has_lines() && !channel.has_ended();
  if (std::exchange(reads_, reads) != reads)
    service_->watch(channel.in(), reads ? Readiness::readable : Readiness::none, [this] { read(); });
  // Lines that were read already make no descriptor readable: the output, which accepts more, stands in.
  const bool writes = channel.waiting() > 0 || bridge_.has_lines();
  if (std::exchange(writes_, writes) != writes)
    service_->watch(channel.out(), writes ? Readiness::writable : Readiness::none, [this] {
      bridge_.channel().flush();
      if (bridge_.has_lines() && bridge_.has_room())
        read();
      else
        choose_events();
    });
}

Client& ServiceSide::client() { return service_->client(); }
void ServiceSide::watch_peers() { service_->watch_peers(); }
void ServiceSide::answer(const Request& request, const Content& content) {
  service_->send_response(request, content);
}
void ServiceSide::answer_error(const Request& request, const std::string& text) {
  service_->send_error(request, text);
}

void ServiceSide::ready() {
  if (ready_) throw UsageError("the service is ready already");
  ready_ = true;
}

void ServiceSide::fail(const std::string& why) {
  if (ready_) return end(why, kServiceThrew);
  failed_ = why;
}

void ServiceSide::suspend(std::optional<Duration>) {
  throw UsageError("a service can't be suspended: its launcher watches it; a client can (--as)");
}
void ServiceSide::reconnect() { suspend({}); }
void ServiceSide::leave(int status) {
  if (ready_)
    end("the program has left", status);
  else
    failed_ = "the program left before it was ready";
}

void ServiceSide::end(const std::string& why, int status) {
  if (!why_) why_ = why;
  service_->terminate(status);
}

int ServiceSide::finish(int status) {
  service_ = nullptr;
  serves_ = false;
  if (!why_) why_ = failed_ ? *failed_ : status == 0 ? "it was asked to terminate" : "the service has failed";
  bridge_.channel().break_off({});
  bridge_.tell_end(*why_, status);
  bridge_.channel().finish();
  bridge_.channel().close();
  if (signals_) signals_->discard();
  if (was_launched_) end_program();
  return status;
}

/// Ends the program that does not end by itself: nobody else watches it. A signal, such as that of `ipcm stop` after its own patience, takes the
/// rest of the time away, and must not end the bridge before the program.
void ServiceSide::end_program() {
  if (!program_) return;
  const os::SignalReader signals({SIGTERM, SIGINT});
  Loop loop;
  bool has_ended = false, is_urged = false;
  std::vector<Watch> watches;
  watches.push_back(loop.watch(program_.get(), EPOLLIN, [&](std::uint32_t) { has_ended = true; }));
  watches.push_back(loop.watch(signals.fd(), EPOLLIN, [&](std::uint32_t) { is_urged = true; }));
  for (const int signal : {SIGTERM, SIGKILL}) {
    if (!is_urged)
      loop.run_until([&] { return has_ended || is_urged; }, os::Deadline::after(kProgramPatience));
    if (has_ended) return;
    (void)os::signal_process(program_.get(), is_urged ? SIGKILL : signal);
  }
}

}  // namespace ipcm::launcher
