#include "launch/boot_process.h"

#include "launch/explain.h"
#include "os/busy_program.h"
#include "os/clock.h"

namespace ipcm::launch {

using Phase = LaunchError::Phase;

NotStarted not_started(const os::SpawnFailure& failure, const LaunchPlan& plan) {
  return {failure.step == os::SpawnStep::make_process ? Phase::fork : Phase::exec, failure.error,
          describe(failure, plan)};
}

std::variant<BootProcess, NotStarted> start_boot(const LaunchPlan& plan, LaunchFds fds) {
  try {
    auto made = os::spawn_when_written(plan.program, [&] { return plan_boot(plan, fds.childs); });
    if (const auto* failure = std::get_if<os::SpawnFailure>(&made)) return not_started(*failure, plan);
    return BootProcess{std::move(std::get<os::Child>(made)), std::move(fds.ours), os::wall_clock_seconds()};
  } catch (const SystemError& error) {
    return NotStarted{Phase::prepare, error.code(), error.what()};
  }
}

}  // namespace ipcm::launch
