#pragma once

#include "command/arguments.h"
#include "command/host.h"
#include "command/speaker.h"
#include "ipcm/service.h"

namespace ipcm::command {

/// The class `command`: makes any program a service. See docs/command.md.
class CommandService final : public Service {
 public:
  using Args = Arguments;
  CommandService(ServiceSetup setup, const Args& args);
  ~CommandService() override;

  void on_start() override;
  Answer take_request(Request&& request) override;
  void on_general_message(const Message& message) override;
  void on_activity(const Activity& activity) override;
  void on_cleanup() override;

 private:
  Plan plan_;
  Host host_;
  std::unique_ptr<Speaker> speaker_;
};

}  // namespace ipcm::command
