#pragma once

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "os/child.h"
#include "os/process_attributes.h"

namespace ipcm::os {

// Makes a process that runs another program.
//
// clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD): the child shares our memory while we wait. So its cost does
// not depend on our size, and we own its pidfd before it has run one instruction. All steps that can fail or
// allocate happen before. The child executes a flat plan with async-signal-safe calls on a stack of its own,
// with all signals blocked. If a step fails, the child stores the step and its errno in our memory: no pipe
// is needed, and the result is there when clone() returns. Descriptors that are not passed are closed by
// close_range(2), never by a loop over numbers; if that call is refused, as in some containers, the child
// closes those that /proc/self/fd lists.

struct SpawnRequest {
  /// A descriptor of ours, and its number in the child.
  struct Pass {
    int from;
    int as;
  };
  std::string program = {};            ///< A path; $PATH is not searched.
  std::vector<std::string> args = {};  ///< argv, argv[0] included.
  std::vector<std::string> env = {};   ///< "NAME=value"; the whole environment.
  std::vector<Pass> fds = {};          ///< Of 0, 1 and 2, the child inherits those not named.
  std::string directory = {};          ///< Empty: the caller's.
  bool new_session = false;
  ProcessAttributes attributes = {};
  /// If set, descriptors above 2 that are not close-on-exec and not ours keep their numbers in the child: for
  /// a command that `ipcm` runs on behalf of its caller. Services get none but `fds`.
  bool keep_other_fds = false;
  /// Signals that are ignored in the child; all others have their default action. An ignored SIGHUP stays
  /// ignored in any case (nohup).
  std::vector<int> ignored_signals = {};
};

enum class SpawnStep : int {
  none,
  make_process,
  pass_descriptors,
  make_session,
  set_attributes,
  change_directory,
  execute
};
struct SpawnFailure {
  SpawnStep step = SpawnStep::none;
  int error = 0;
  const char* call = "";  ///< The system call that failed.
};

/// Returns the running child, or the step that failed; the child is reaped then. Does not change the signal
/// mask and handlers of the caller.
[[nodiscard]] std::variant<Child, SpawnFailure> spawn(SpawnRequest request);

/// A child before its exec, while the parent goes on: as spawn(), but without CLONE_VFORK. Until the exec,
/// the child runs beside us in our memory, in buffers that this object lends it, and makes system calls only;
/// it does not even touch errno. The destructor waits for the exec, which takes the kernel a fraction of a
/// millisecond, and kills the child.
class Spawning {
 public:
  /// If `waits` is set, returns after the exec. (It also waits on machines where a system call can't be made
  /// without errno.)
  [[nodiscard]] static std::variant<Spawning, SpawnFailure> begin(SpawnRequest request, bool waits = false);
  Spawning(Spawning&&) noexcept;
  Spawning& operator=(Spawning&&) noexcept;
  ~Spawning();
  [[nodiscard]] Child& child() { return child_; }
  /// Waits until the exec is over. If it failed, reaps the child and returns the failure.
  [[nodiscard]] std::optional<SpawnFailure> await_exec();
  /// Transfers the child to the caller; call await_exec() first.
  [[nodiscard]] Child take_child() && { return std::move(child_); }

 private:
  struct Borrowed;
  Spawning(Child child, std::unique_ptr<Borrowed> borrowed);
  [[nodiscard]] static std::variant<Spawning, SpawnFailure> own_child(Pid pid, int pidfd,
                                                                      std::unique_ptr<Borrowed> borrowed);
  static void await_let_go(const Borrowed& borrowed) noexcept;
  void wait() const noexcept;
  Child child_;  // destroyed after borrowed_: the child has left our memory by then
  std::unique_ptr<Borrowed> borrowed_;
};

/// Turns this process into the program. Returns only on failure.
[[nodiscard]] SpawnFailure become(const SpawnRequest& request);

/// Makes this process the leader of a new session and process group, without a terminal.
void start_session();

/// Forks. Returns the child to the parent, and nullopt in the child, where signals are reset and all
/// descriptors of the library are closed, except those that were released before. Throws SystemError.
[[nodiscard]] std::optional<Child> fork_process();
/// The same for a daemon, which nobody owns. Returns true in the parent.
[[nodiscard]] bool fork_process_unowned();
/// For a process that shall hold nothing of its parent: closes every descriptor except these, redirects the
/// three standard streams to /dev/null, and changes the working directory to the root.
void keep_only(std::initializer_list<int> fds);
/// Asks the kernel to kill this process when the thread that forked it ends. Only for a single-threaded
/// parent. `parent` is its pid, in case it has already ended.
void end_with_parent(Pid parent);
/// Ends the process at once: no destructors, no exit handlers, and no flushing of stdio buffers that were
/// copied by the fork. Flushes output that the child itself wrote to stdout and stderr after discard_stdio().
[[noreturn]] void leave_forked_process(int status) noexcept;
/// Discards stdio output that the parent has not yet flushed; otherwise it would be written twice.
void discard_stdio() noexcept;

}  // namespace ipcm::os
