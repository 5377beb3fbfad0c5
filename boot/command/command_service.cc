#include "command/command_service.h"

#include "command/end_of_tree.h"
#include "command/register.h"
#include "ipcm/error.h"
#include "os/process.h"
#include "service/diagnostic.h"
#include "service/service_runtime.h"

namespace ipcm::command {

std::unique_ptr<Speaker> make_speaker(Host& host) {
  switch (host.plan().speak) {
    case Speak::per_request:
      return speak_per_request(host);
    case Speak::lines:
      return speak_lines(host);
    case Speak::jsonrpc:
      return speak_jsonrpc(host);
    case Speak::none:
      break;
  }
  return speak_none(host);
}

CommandService::CommandService(ServiceSetup setup, const Args& args)
    : Service(std::move(setup)), plan_(make_plan(args, info().text())), host_(*this, plan_) {}

/// After a start that has failed, on_cleanup() is not called.
CommandService::~CommandService() {
  try {
    speaker_.reset();
    (void)end_tree(runtime().loop(), plan_.grace);
  } catch (const std::exception& error) {
    service::complain(name(), std::string("its programs could not be ended: ") + error.what());
  }
}

void CommandService::on_start() {
  os::adopt_orphans();
  speaker_ = make_speaker(host_);
  speaker_->start();
  const auto is_decided = [this] {
    speaker_->process();
    return speaker_->is_ready() || runtime().is_told_to_end();
  };
  (void)runtime().loop().run_until(is_decided, os::Deadline::never());
  if (runtime().is_told_to_end()) throw Error("it was asked to end before " + naming(plan_) + " was ready");
  host_.output_log().reopen();
  host_.error_log().reopen();
}

Answer CommandService::take_request(Request&& request) {
  speaker_->receive(std::move(request));
  return later;
}

void CommandService::on_general_message(const Message& message) { speaker_->on_message(message); }

void CommandService::on_activity(const Activity& activity) {
  if (!activity.peer_delta.empty()) speaker_->on_peers(activity.peer_delta);
  speaker_->process();
}

void CommandService::on_cleanup() {
  if (!end_tree(runtime().loop(), plan_.grace)) host_.complain("a process of its program outlasts SIGKILL");
}

void add_class(Registry& registry) {
  registry.add<CommandService>("command", "makes a program a service; see docs/command.md");
}

}  // namespace ipcm::command
