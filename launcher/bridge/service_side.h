#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bridge/bridge.h"
#include "ipcm/registry.h"
#include "loop/loop.h"
#include "os/descriptor.h"
#include "os/signals.h"

namespace ipcm::launcher {

/// A bridge that is a service. It begins its program's start when it has joined the bus, and is ready when the
/// program is.
class ServiceSide final : public BridgeSide {
 public:
  ServiceSide(Channel channel, Duration limit);
  /// Becomes the service that the arguments describe (docs/boot.md), and returns its exit status.
  int boot(const std::vector<std::string>& arguments);
  /// Becomes a service that nobody has launched.
  int run(const std::string& name, const BusInfo& info);

  Client& client() override;
  void watch_peers() override;
  void answer(const Request& request, const Content& content) override;
  void answer_error(const Request& request, const std::string& text) override;
  void ready() override;
  void fail(const std::string& why) override;
  void suspend(std::optional<Duration> expires) override;
  void reconnect() override;
  void leave(int status) override;
  void after_writing() override;

 private:
  class BridgedService;
  void start(BridgedService& service);  ///< Returns when the program is ready.
  void watch_all();                     ///< In the loop of the service.
  void read();
  void choose_events();
  void end(const std::string& why, int status);
  int finish(int status);
  void end_program();

  Bridge bridge_;
  os::UniqueFd program_;  // a pidfd of the process that has started this one
  os::UniqueFd leash_;
  bool was_launched_ = false;
  BridgedService* service_ = nullptr;
  std::optional<os::SignalReader> signals_;  // it only ends waits: the service has its own
  bool serves_ = false, ready_ = false, writes_ = false, reads_ = false;
  std::optional<std::string> failed_, why_;
};

}  // namespace ipcm::launcher
