// ipcm types: asks a boot binary what it can be.

#include "commands/commands.h"
#include "launch/boot_binary.h"
#include "os/busy_program.h"
#include "os/spawn.h"
#include "os/sys.h"

extern char** environ;

namespace ipcm::launcher {

int types(const Options& options) {
  os::SpawnRequest ask;
  ask.program = launch::find_boot_binary("types", options.boot_path());
  ask.args = {ask.program, "--list"};
  if (options.json) ask.args.emplace_back("--json");
  for (char** entry = environ; *entry != nullptr; ++entry) ask.env.emplace_back(*entry);
  auto made = os::spawn_when_written(ask.program, [&] { return ask; });
  if (const auto* failure = std::get_if<os::SpawnFailure>(&made))
    throw SystemError(failure->error, "execute '" + ask.program + "'");
  auto& child = std::get<os::Child>(made);
  const auto limit = os::Deadline::after(options.limit(std::chrono::seconds(10)));
  const auto status = child.reap(limit);
  if (!status) throw Timeout("'" + ask.program + " --list' did not end in time, and was ended");
  if (!status->success())
    throw Error("'" + ask.program + " --list' " + status->describe() + ": is it a boot binary?");
  return number(Status::done);
}

}  // namespace ipcm::launcher
