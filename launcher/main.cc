// The `ipcm` command: runs the function of the verb and returns the exit status.

#include <cstdio>
#include <string>
#include <utility>

#include "commands/commands.h"
#include "exit_status.h"
#include "options.h"
#include "os/signals.h"
#include "os/standard_streams.h"
#include "os/time_limit.h"
#include "report.h"

namespace {

using Command = int (*)(const ipcm::launcher::Options&);

constexpr std::pair<const char*, Command> kCommands[] = {
    {"run", ipcm::launcher::run},         {"session", ipcm::launcher::session},
    {"bus new", ipcm::launcher::bus_new}, {"bus rm", ipcm::launcher::bus_rm},
    {"bus ls", ipcm::launcher::bus_ls},   {"bus info", ipcm::launcher::bus_info},
    {"bus gc", ipcm::launcher::bus_gc},   {"bus protocols", ipcm::launcher::bus_protocols},
    {"start", ipcm::launcher::start},     {"stop", ipcm::launcher::stop},
    {"logs", ipcm::launcher::logs},       {"ps", ipcm::launcher::ps},
    {"types", ipcm::launcher::types},     {"request", ipcm::launcher::request},
    {"send", ipcm::launcher::send},       {"broadcast", ipcm::launcher::broadcast},
};

}  // namespace

int main(int argc, char** argv) {
  ipcm::os::take_charge_of_signals();
  ipcm::os::fill_standard_streams(ipcm::os::ClosedStdout::fails);
  int status = 0;
  const auto options = ipcm::launcher::read_options(argc, argv, status);
  if (!options) return status;
  try {
    // `run` and `session` do many things; the limit applies to each of them. For the other verbs, it begins
    // here; `request` begins a new one for each further request.
    const bool lasts = options->command == "run" || options->command == "session";
    const ipcm::os::TimeLimit limit(
        ipcm::os::Deadline::limit(lasts ? ipcm::kNoLimit : options->limit(ipcm::kNoLimit)));
    for (const auto& [name, command] : kCommands)
      if (options->command == name) status = command(*options);
    ipcm::launcher::flush_output();
  } catch (...) {
    status = ipcm::launcher::number(ipcm::launcher::report_error(*options));
  }
  return status;
}
