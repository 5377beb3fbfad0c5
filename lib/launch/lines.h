#pragma once

#include <array>

#include "launch/relay.h"
#include "launch/request.h"
#include "os/descriptor.h"
#include "os/spawn.h"

namespace ipcm::launch {

// The descriptors between a launcher and the process that it starts.

/// Those that the child is meant to have. Released before a fork, taken up again on both sides.
struct Lines {
  os::UniqueFd ready, leash, capture, real_stderr, in, out, parameters, log;
  handoff::OriginalStreams original;

  static constexpr std::size_t kCount = 11;
  [[nodiscard]] std::array<int, kCount> release();
  void take_up(const std::array<int, kCount>& numbers);

  /// Where 1 and 2 lead until it is ready; -1: where ours do.
  [[nodiscard]] int first_stdout() const;
  [[nodiscard]] int first_stderr() const;
  /// Which of them lead to the log from then on.
  [[nodiscard]] bool returns_stdout() const { return capture && log && !out && !real_stderr; }
  [[nodiscard]] bool returns_stderr() const { return capture && log && !real_stderr; }

 private:
  [[nodiscard]] std::array<os::UniqueFd*, kCount> all();
};

/// The launcher's ends of the same.
struct Ends {
  os::UniqueFd ready;    ///< Read end of the ready pipe; does not block.
  os::UniqueFd capture;  ///< Read end of its stderr, if that is captured,
  WordsTo words_to;      ///< and where it leads otherwise.
};

struct BothEnds {
  Lines childs;
  Ends ours;
};
/// Opens all that the request wants, but not the parameters. Throws SystemError.
[[nodiscard]] BothEnds open_lines(const Request& request);

/// How a program is run that a child becomes: command line, environment and descriptors as the boot contract
/// says (docs/boot.md).
[[nodiscard]] os::SpawnRequest plan_boot(const Request& request, const Lines& lines);

}  // namespace ipcm::launch
