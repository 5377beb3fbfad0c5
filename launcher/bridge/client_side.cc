#include "bridge/client_side.h"

#include <sys/epoll.h>

#include <csignal>
#include <utility>

#include "exit_status.h"
#include "os/process.h"
#include "output.h"
#include "terminate.h"

namespace ipcm::launcher {
namespace {

constexpr int kSignalStatus = 128;

}  // namespace

ClientSide::ClientSide(Channel channel, BusInfo info, std::string name, Duration limit)
    : info_(std::move(info)),
      name_(std::move(name)),
      bridge_(std::move(channel), *this, limit),
      signals_({SIGTERM, SIGINT}) {
  bridge_.channel().break_off({signals_.fd()});
}

int ClientSide::run(bool reconnect) {
  try {
    join(reconnect);
  } catch (const Error&) {
    bridge_.tell_failure();
    bridge_.channel().finish();
    throw;
  }
  tell_joined();
  Channel& channel = bridge_.channel();
  const bool can_wait = channel.can_wait_for_input();
  signals_watch_ = loop_.watch(signals_.fd(), EPOLLIN, [this](std::uint32_t) {
    if (const auto receipt = signals_.next())
      end(receipt->signal == SIGTERM ? "SIGTERM" : "SIGINT", kSignalStatus + receipt->signal);
  });
  if (can_wait) in_watch_ = loop_.watch(channel.in(), EPOLLIN, [this](std::uint32_t) { has_input_ = true; });
  timer_watch_ = loop_.watch(bridge_.timer_fd(), EPOLLIN, [this](std::uint32_t) { bridge_.time_out(); });
  if (channel.can_wait_for_output())
    out_watch_ = loop_.watch(channel.out(), EPOLLERR, [this](std::uint32_t events) {
      bridge_.channel().flush();
      if ((events & (EPOLLERR | EPOLLHUP)) != 0) bridge_.channel().drop();
    });
  while (!why_) {
    choose_events();
    const bool has_more = bridge_.has_lines() || (!can_wait && !channel.has_ended());
    loop_.turn(has_more && bridge_.has_room() ? os::Deadline::passed() : os::Deadline::never());
    if (why_) break;
    if (bridge_.has_room() && (has_more || std::exchange(has_input_, false))) bridge_.read();
    if (client_ && !why_) take_messages();
    channel.flush();
    if (channel.is_broken()) end("the program does not read any more");
    if (channel.has_ended() && !bridge_.has_lines() && !bridge_.has_open_requests())
      end("the input has ended");
  }
  client_watch_.stop();
  if (client_) {
    try {
      client_->disconnect([this](const Message& message) { bridge_.tell_message(message); });
    } catch (const Error&) {
      // The bus may have been removed.
    }
    client_.reset();
  }
  bridge_.tell_end(*why_, status_);
  channel.finish();
  signals_.discard();
  return status_;
}

/// A program that does not read its lines gets no more of them, and performs no operations.
void ClientSide::choose_events() {
  const Channel& channel = bridge_.channel();
  const auto choose = [](Watch& watch, std::uint32_t& has, std::uint32_t wanted) {
    if (watch && std::exchange(has, wanted) != wanted) watch.want(wanted);
  };
  const bool room = bridge_.has_room();
  constexpr std::uint32_t kNothing = 0, kInput = EPOLLIN, kOutput = EPOLLOUT, kError = EPOLLERR;
  choose(in_watch_, in_events_, room && !bridge_.has_lines() && !channel.has_ended() ? kInput : kNothing);
  choose(client_watch_, client_events_, room ? kInput : kNothing);
  choose(out_watch_, out_events_, channel.waiting() > 0 ? kOutput : kError);
}

void ClientSide::join(bool reconnect) {
  client_.emplace(name_.empty() ? ipcm_connect_anonymous(info_)
                  : reconnect   ? ipcm_reconnect(name_, info_)
                                : ipcm_connect(name_, info_));
  client_->on_diagnostic([](const std::string& sentence) { complain(sentence); });
  if (wants_peers_) watch_peers();
  client_watch_ = loop_.watch(client_->fd(), EPOLLIN, [](std::uint32_t) {});
  client_events_ = EPOLLIN;
}

void ClientSide::tell_joined() {
  bridge_.tell(BridgeLine("joined")
                   .number("bridge", 1)
                   .text("name", client_->id())
                   .text("bus", info_.text())
                   .number("pid", os::own_pid()));
}

/// Reads from the bus, unless the program is behind: then the senders wait.
void ClientSide::take_messages() {
  if (!bridge_.has_room()) return;
  try {
    for (const Message& message : client_->get_messages()) {
      if (asks_to_terminate(message.content))
        end("it was asked to terminate");
      else
        bridge_.tell_message(message);
    }
    if (client_) client_->dispatch();
  } catch (const BusError& error) {
    bridge_.forget_requests(error.what());
    end(error.what(), number(Status::gone));
  }
}

Client& ClientSide::client() {
  if (!client_)
    throw UsageError("the bridge is not on the bus; it was suspended: use the operation 'reconnect'");
  return *client_;
}

void ClientSide::watch_peers() {
  client().on_peer_delta([this](const std::map<std::string, int>& delta) { bridge_.tell_peers(delta); });
  wants_peers_ = true;
}

void ClientSide::answer(const Request&, const Content&) {}
void ClientSide::answer_error(const Request&, const std::string&) {}
void ClientSide::ready() { throw UsageError("only a service becomes ready: ipcm bridge --serve"); }
void ClientSide::fail(const std::string&) { ready(); }

void ClientSide::suspend(std::optional<Duration> expires) {
  if (name_.empty()) throw UsageError("a bridge without a name can't be suspended; give it one: --as NAME");
  if (expires)
    client().suspend(*expires);
  else
    client().suspend();
  client_watch_.stop();
  client_.reset();
}

void ClientSide::reconnect() {
  if (client_) throw UsageError("the bridge is on the bus; 'reconnect' follows 'suspend'");
  join(true);
}

void ClientSide::leave(int) { end("the program has left"); }

void ClientSide::end(const std::string& why, int status) {
  if (why_) return;
  why_ = why;
  status_ = status;
  bridge_.channel().begin_to_end();
}

}  // namespace ipcm::launcher
