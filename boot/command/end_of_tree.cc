#include "command/end_of_tree.h"

#include <csignal>

#include "os/process_tree.h"

namespace ipcm::command {

bool end_tree(Loop& loop, Duration grace) {
  constexpr auto kPatience = std::chrono::seconds(10);
  const auto is_over = [] { return !os::has_children(); };
  if (is_over()) return true;
  os::signal_descendants(SIGTERM);
  if (loop.run_until(is_over, os::Deadline::after(grace))) return true;
  const auto end = os::Deadline::after(kPatience);
  do {
    // At each end of a process, its children become ours: they were missing from the list if they were just made.
    os::signal_descendants(SIGKILL);
    (void)loop.turn(end);
  } while (!is_over() && !end.has_passed());
  return is_over();
}

}  // namespace ipcm::command
