#include "launch/boot_process.h"

#include "launch/explain.h"
#include "os/busy_program.h"

namespace ipcm::launch {

using Phase = LaunchError::Phase;

NotStarted not_started(const os::SpawnFailure& failure, const LaunchPlan& request) {
  return {failure.step == os::SpawnStep::make_process ? Phase::fork : Phase::exec, failure.error,
          describe(failure, request)};
}

std::variant<BootProcess, NotStarted> start_boot(const LaunchPlan& request, LaunchFds lines) {
  try {
    auto made = os::spawn_when_written(request.program, [&] { return plan_boot(request, lines.childs); });
    if (const auto* failure = std::get_if<os::SpawnFailure>(&made)) return not_started(*failure, request);
    return BootProcess{std::move(std::get<os::Child>(made)), std::move(lines.ours)};
  } catch (const SystemError& error) {
    return NotStarted{Phase::prepare, error.code(), error.what()};
  }
}

}  // namespace ipcm::launch
