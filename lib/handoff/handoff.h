#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipcm/basics.h"
#include "ipcm/bus_info.h"
#include "ipcm/content.h"
#include "ipcm/redirect.h"
#include "os/descriptor.h"

namespace ipcm::handoff {

// All that crosses exec: the boot contract, docs/boot.md. No other file writes or reads it.
//
//   ipcm-boot [--ready-fd N] [--params-fd M | PARAMS]
//
// Environment variables carry the rest. Each is optional, and a boot binary may ignore it:
//   IPCM_LEASH_FD    a pidfd of the launcher: readable when it has ended
//   IPCM_ORIG_IO_FDS three numbers: where stdin, stdout, stderr led before they were redirected; "-": nowhere
//   IPCM_PARAMS_WHOLE set: the parameters fit into their pipe, so the boot binary may wait for its end
//   IPCM_STDERR_FD   where stderr leads once the service is ready; until then descriptor 2 is a pipe to the
//                    launcher, which quotes the text if the start fails
//   IPCM_LOG_FD      the service's own log, and which of descriptors 1 and 2 lead there once the service is
//                    ready: "5,1,2"

inline constexpr int kContractVersion = 1;
inline constexpr const char* kLeashVariable = "IPCM_LEASH_FD";
inline constexpr const char* kStderrVariable = "IPCM_STDERR_FD";
inline constexpr const char* kLogVariable = "IPCM_LOG_FD";
inline constexpr const char* kOriginalVariable = "IPCM_ORIG_IO_FDS";
inline constexpr const char* kWholeVariable = "IPCM_PARAMS_WHOLE";
/// The longest argument (MAX_ARG_STRLEN, its NUL included). Longer parameters are passed in a memory file.
inline constexpr std::size_t kLongestArgument = 128UL * 1024 - 1;
inline constexpr std::size_t kLargestParameters = 256UL * 1024 * 1024;

/// The parameters of one service.
struct Parameters {
  std::string name;
  std::string class_name;
  BusInfo info;
  std::vector<Pid> watch_pids;
  std::optional<Duration> interval;
  Duration spin = Duration::zero();
  bool intercept_errors = false;
  bool expose_error_details = false;
  bool secret = false;  ///< the service does not show these parameters
  Redirect redirect;
  bool stay_in_begin = false;
  Content args;  ///< null: none
};
[[nodiscard]] std::string write_parameters(const Parameters& parameters);
/// Reads the JSON document. Throws ProtocolError that names the key.
[[nodiscard]] Parameters read_parameters(std::string_view json);

/// The parsed command line of a boot binary.
struct CommandLine {
  enum class Action { boot, list, list_json, help };
  Action action = Action::boot;
  std::optional<int> ready_fd;
  std::optional<int> params_fd;
  std::optional<std::string> params;
};
/// Parses the command line. Throws UsageError.
[[nodiscard]] CommandLine read_command_line(int argc, const char* const* argv);

/// The three standard streams before they were redirected; all empty if none was redirected.
using OriginalStreams = std::array<os::UniqueFd, 3>;

/// The descriptors that a boot has inherited. They are close-on-exec and their variables are removed, before
/// the code of the service runs.
struct Inherited {
  os::UniqueFd ready;
  os::UniqueFd leash;
  os::UniqueFd real_stderr;
  os::UniqueFd log;
  bool log_out = false, log_err = false;  ///< whether stdout, stderr lead to the log after ready
  OriginalStreams original;
};
/// Takes the inherited descriptors. Also opens standard streams that are closed in this process. Moves a
/// ready pipe at 0, 1 or 2 to a higher number; the stream then leads to /dev/null. Throws UsageError for a
/// number that is no open descriptor.
[[nodiscard]] Inherited take_inherited(const CommandLine& line);
/// Returns the text of the parameters, from the command line or from --params-fd. Waits until the text
/// arrives or the launcher ends. Throws UsageError, ProtocolError.
[[nodiscard]] std::string take_parameters(const CommandLine& line, const os::UniqueFd& leash);

}  // namespace ipcm::handoff
