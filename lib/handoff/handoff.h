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

// What crosses exec, written and read here and nowhere else: the boot contract, docs/boot.md.
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
/// One argument can't be longer (MAX_ARG_STRLEN, its NUL included); longer parameters go by memory file.
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
  Redirect redirect;
  bool stay_in_begin = false;
  Content args;  ///< null: none
};
[[nodiscard]] std::string write_parameters(const Parameters& parameters);
/// Throws ProtocolError that names the key.
[[nodiscard]] Parameters read_parameters(std::string_view json);

/// A boot binary's command line, understood.
struct CommandLine {
  enum class Action { boot, list, list_json, help };
  Action action = Action::boot;
  std::optional<int> ready_fd;
  std::optional<int> params_fd;
  std::optional<std::string> params;
};
/// Throws UsageError.
[[nodiscard]] CommandLine read_command_line(int argc, const char* const* argv);

/// Where the three standard streams led before they were redirected; none of them if nothing was.
using OriginalStreams = std::array<os::UniqueFd, 3>;

/// The descriptors that came along: made close-on-exec, their variables removed, before anything of the
/// service runs.
struct Inherited {
  os::UniqueFd ready;
  os::UniqueFd leash;
  os::UniqueFd real_stderr;
  os::UniqueFd log;
  bool log_out = false, log_err = false;  ///< stdout, stderr lead there once it is ready
  OriginalStreams original;
};
/// Also fills the standard streams that this process was started without. A ready pipe at 0, 1 or 2 is moved
/// away, and the stream leads to /dev/null. Throws UsageError for a number that is no open descriptor.
[[nodiscard]] Inherited take_inherited(const CommandLine& line);
/// The parameters' text, from wherever the command line says; waits for it, but not longer than the launcher
/// lives. Throws UsageError, ProtocolError.
[[nodiscard]] std::string take_parameters(const CommandLine& line, const os::UniqueFd& leash);

}  // namespace ipcm::handoff
