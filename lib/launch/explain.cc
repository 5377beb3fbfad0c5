#include "launch/explain.h"

#include <array>
#include <cerrno>
#include <cstdio>

#include "ipcm/error.h"
#include "os/directory.h"
#include "os/sys.h"

namespace ipcm::launch {

std::string started_as(const std::string& service) { return "service '" + service + "' did not start: "; }

std::string readable_span(Duration span) {
  std::array<char, 32> text{};
  const double ms = std::chrono::duration<double, std::milli>(span).count();
  if (ms < 1000)
    std::snprintf(text.data(), text.size(), "%.1f ms", ms);
  else
    std::snprintf(text.data(), text.size(), "%.3g s", ms / 1000);
  return text.data();
}

std::string hint_for(int error, const std::string& program) {
  switch (error) {
    case ENOENT:
      return os::look_at(program).kind == os::FileKind::none
                 ? "; name the boot binary with exec.path, --boot or $IPCM_BOOT"
                 : "; the file is there, so its interpreter (the #! line) or its loader is missing";
    case EACCES:
      return "; it has no execute permission (chmod +x), or a directory above it can't be entered";
    case ENOEXEC:
      return "; it is neither a binary for this machine nor a script with a #! line";
    case E2BIG:
      return "; arguments and environment together are too large (see ulimit -s)";
    default:
      return "";
  }
}

std::string describe(const os::SpawnFailure& failure, const LaunchPlan& plan) {
  const std::string why = os::errno_text(failure.error);
  const std::string call = failure.call;  // named, since a sandbox may refuse just this call
  switch (failure.step) {
    case os::SpawnStep::make_process:
      return "no process could be made: " + call + ": " + why;
    case os::SpawnStep::pass_descriptors:
      return "descriptors could not be passed to it: " + call + ": " + why;
    case os::SpawnStep::make_session:
      return "it could not get a session of its own: " + why;
    case os::SpawnStep::set_attributes:
      return "it could not get its attributes: " + call + ": " + why;
    case os::SpawnStep::change_directory:
      return "can't enter its working directory '" + plan.directory + "': " + why;
    default:
      return "can't execute '" + plan.program + "': " + why + hint_for(failure.error, plan.program);
  }
}

}  // namespace ipcm::launch
