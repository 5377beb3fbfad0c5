// The `ipcm` command: runs the function of the verb and returns the exit status.

#include "exit_status.h"
#include "options.h"
#include "os/signals.h"
#include "os/standard_streams.h"
#include "os/time_limit.h"
#include "report.h"

int main(int argc, char** argv) {
  ipcm::os::take_charge_of_signals();
  ipcm::os::fill_standard_streams(ipcm::os::ClosedStdout::fails);
  int status = 0;
  const auto options = ipcm::launcher::read_options(argc, argv, status);
  if (!options) return status;
  try {
    const ipcm::os::TimeLimit limit(ipcm::os::Deadline::limit(
        options->limits_each_step ? ipcm::kNoLimit : options->limit(ipcm::kNoLimit)));
    status = options->command(*options);
    ipcm::launcher::flush_output();
  } catch (...) {
    status = ipcm::launcher::number(ipcm::launcher::report_error(*options));
  }
  return status;
}
