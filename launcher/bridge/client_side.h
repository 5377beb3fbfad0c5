#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <optional>
#include <string>

#include "bridge/bridge.h"
#include "loop/loop.h"
#include "os/signals.h"

namespace ipcm::launcher {

/// A bridge that is a client on a bus, with a loop of its own.
class ClientSide final : public BridgeSide {
 public:
  /// `name`: empty for a client that peers do not see while it only sends and asks.
  ClientSide(Channel channel, BusInfo info, std::string name, Duration limit);
  /// Joins, serves the program until the end, and returns the exit status. Throws BusError if it can't join.
  int run(bool reconnect);

  Client& client() override;
  void watch_peers() override;
  void answer(const Request& request, const Content& content) override;
  void answer_error(const Request& request, const std::string& text) override;
  void ready() override;
  void fail(const std::string& why) override;
  void suspend(std::optional<Duration> expires) override;
  void reconnect() override;
  void leave(int status) override;

 private:
  void join(bool reconnect);
  void tell_joined();
  void choose_events();
  void take_messages();
  void end(const std::string& why, int status = 0);

  BusInfo info_;
  std::string name_;
  Bridge bridge_;
  os::SignalReader signals_;
  Loop loop_;
  std::optional<Client> client_;
  Watch client_watch_, in_watch_, out_watch_, timer_watch_, signals_watch_;
  std::uint32_t client_events_ = 0, in_events_ = EPOLLIN, out_events_ = EPOLLERR;  // of these watches
  bool wants_peers_ = false;
  bool has_input_ = false;
  std::optional<std::string> why_;
  int status_ = 0;
};

}  // namespace ipcm::launcher
