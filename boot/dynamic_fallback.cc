#include "dynamic_fallback.h"

#include <algorithm>

#include "os/directory.h"
#include "os/module.h"
#include "os/pipe.h"
#include "os/process.h"
#include "os/spawn.h"
#include "os/sys.h"
#include "transport/protocols.h"

namespace ipcm::dynamic_fallback {
namespace {

/// Returns the path of the fallback of a program. Empty: there is none.
std::string find_fallback(const std::string& program) {
  const auto slash = program.rfind('/');
  if (slash == std::string::npos) return {};
  const std::string folder = program.substr(0, slash + 1), name = program.substr(slash + 1) + "-dynamic";
  for (const char* place : {"", "../libexec/ipcm/"}) {
    std::string path = folder;
    path.append(place).append(name);
    if (os::why_not_executable(path) == 0) return path;
  }
  return {};
}

}  // namespace

std::vector<const char*> keep_environment() {
  if (os::can_load_modules() || environ == nullptr) return {};
  char** end = environ;
  while (*end != nullptr) ++end;
  return {environ, end};
}

bool is_needed(const BusInfo& info) {
  if (os::can_load_modules()) return false;
  const auto& known = transport::protocols();
  const auto found =
      std::find_if(known.begin(), known.end(), [&](const auto* one) { return info.protocol == one->name(); });
  return found != known.end() && (*found)->driver() != nullptr;  // an unknown one is an error of its own
}

std::string become(const handoff::CommandLine& line, const std::string& parameters, const BusInfo& info,
                   ready::Announcer& announcer, const handoff::Inherited& inherited,
                   const std::vector<const char*>& environment, const char* called_as) {
  const std::string program = os::own_executable();
  os::SpawnRequest request;
  request.program = find_fallback(program);
  if (request.program.empty())
    return "protocol " + info.protocol + " needs a database driver, and " + program +
           " is linked statically and can't load one: put a dynamically linked build of it beside it, "
           "named " +
           program + "-dynamic";
  request.env.assign(environment.begin(), environment.end());
  request.args = {called_as};
  int highest = 2;
  const auto pass = [&](int fd) {
    if (fd < 0) return;
    request.fds.push_back({fd, fd});
    highest = std::max(highest, fd);
  };
  os::UniqueFd pipe = announcer.give_pipe(), real_stderr = announcer.give_stderr();
  ready::LogStreams log = announcer.give_log();
  pass(pipe.get());
  pass(log.log.get());
  pass(real_stderr.get());
  pass(inherited.leash.get());
  for (const os::UniqueFd& original : inherited.original) pass(original.get());
  if (pipe) request.args.insert(request.args.end(), {"--ready-fd", std::to_string(pipe.get())});
  os::UniqueFd file;
  if (line.params) {
    request.args.push_back(parameters);
  } else {
    // A pipe can't be read twice; and secret parameters must not become arguments.
    file = os::make_readable_once("ipcm-parameters", parameters);
    request.fds.push_back({file.get(), highest + 1});
    request.args.insert(request.args.end(), {"--params-fd", std::to_string(highest + 1)});
  }
  const os::SpawnFailure failure = os::become(request);
  announcer = ready::Announcer(std::move(pipe), std::move(real_stderr), std::move(log));
  return "protocol " + info.protocol + " needs a database driver, and " + request.program +
         ", which could load it, can't be executed: " + os::errno_text(failure.error);
}

}  // namespace ipcm::dynamic_fallback
