#pragma once

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "os/process.h"

namespace ipcm::os {

// Making a process that runs another program.
//
// clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD): the child borrows our memory while we wait, so that its cost
// does not grow with ours, and its pidfd is ours before it has run one instruction. Everything that can fail
// or allocate is done before; the child walks a flat plan with async-signal-safe calls on a stack of its own,
// with all signals blocked. If a step fails it leaves the step and its errno in our memory: no pipe is
// needed, and the answer is there when clone() returns. Descriptors that are not passed are closed by
// close_range(2), never by a loop over numbers; where that call is refused, as some containers do, those that
// /proc/self/fd lists are closed one by one.

struct SpawnRequest {
  /// A descriptor of ours, and the number under which the child has it.
  struct Pass {
    int from;
    int as;
  };
  std::string program = {};            ///< Path; not searched for.
  std::vector<std::string> args = {};  ///< argv, argv[0] included.
  std::vector<std::string> env = {};   ///< "NAME=value"; all of it.
  std::vector<Pass> fds = {};          ///< 0, 1 and 2 are the caller's where not named.
  std::string directory = {};          ///< Empty: the caller's.
  bool new_session = false;
  /// Descriptors above 2 that are open over exec, and not ours, stay open in it under their numbers: for a
  /// command that `ipcm` runs in its caller's place. Services get none but `fds`.
  bool keep_other_fds = false;
  /// Signals that it finds ignored; all others have their default action. SIGHUP is among them anyway if it
  /// is ignored here (nohup).
  std::vector<int> ignored_signals = {};
};

enum class SpawnStep : int { none, make_process, pass_descriptors, make_session, change_directory, execute };
struct SpawnFailure {
  SpawnStep step = SpawnStep::none;
  int error = 0;
  const char* call = "";  ///< The system call that failed.
};

/// The running child, or which step failed; then it is reaped. Leaves signal mask and handlers of the caller
/// alone.
[[nodiscard]] std::variant<Child, SpawnFailure> spawn(SpawnRequest request);

/// A child on its way to its exec, while we go on: the same without CLONE_VFORK. Until then it runs beside us
/// in our memory, on what this object lends it, with system calls only: not even errno is touched. Destroying
/// it waits for the exec, which takes the kernel a fraction of a millisecond, and kills the child.
class Spawning {
 public:
  /// `waits`: returns when the exec is over. (So it does where a system call can't be made without errno.)
  [[nodiscard]] static std::variant<Spawning, SpawnFailure> begin(SpawnRequest request, bool waits = false);
  Spawning(Spawning&&) noexcept;
  Spawning& operator=(Spawning&&) noexcept;
  ~Spawning();
  [[nodiscard]] Child& child() { return child_; }
  /// Waits until it has come to its exec; why not, if it failed: then it is reaped.
  [[nodiscard]] std::optional<SpawnFailure> await_exec();
  /// After that.
  [[nodiscard]] Child take_child() && { return std::move(child_); }

 private:
  struct Borrowed;
  Spawning(Child child, std::unique_ptr<Borrowed> borrowed);
  [[nodiscard]] static std::variant<Spawning, SpawnFailure> own_child(Pid pid, int pidfd,
                                                                      std::unique_ptr<Borrowed> borrowed);
  static void await_let_go(const Borrowed& borrowed) noexcept;
  void wait() const noexcept;
  Child child_;  // behind it in destruction: the memory is ours again before
  std::unique_ptr<Borrowed> borrowed_;
};

/// The same without a new process: this one becomes the program. Returns only if that fails.
[[nodiscard]] SpawnFailure become(const SpawnRequest& request);

/// A session and process group of our own: no terminal.
void start_session();

/// fork(), in the form that both sides can use: the child gets nullopt. Throws SystemError.
/// The child's signals are reset, and none of our descriptors are left in it but those released before.
[[nodiscard]] std::optional<Child> fork_process();
/// The same without owning the child: it is nobody's, as a daemon is. Returns whether this is the parent.
[[nodiscard]] bool fork_process_unowned();
/// For a process that is to hold nothing of its parent: closes every descriptor but these, and leads the
/// three standard streams to /dev/null. Its working directory becomes the root.
void keep_only(std::initializer_list<int> fds);
/// The kernel is to kill this process when the thread that forked it ends. Only where that thread is the
/// whole of the parent; `parent` is its pid, in case it has ended already.
void end_with_parent(Pid parent);
/// Ends the process at once: no destructors, no exit handlers, no flushing of stdio that was copied in a
/// fork. What the child itself wrote to stdout and stderr after discard_stdio() is flushed.
[[noreturn]] void leave_forked_process(int status) noexcept;
/// Forgets what the parent had not written out yet, or it would be written twice.
void discard_stdio() noexcept;

}  // namespace ipcm::os
