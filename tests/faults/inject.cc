// Runs a command and kills one of its processes at a chosen system call, or makes that call fail once.
//
//   inject --report FD --side SIDE --call NUMBER --nth N --fault KILL|ERRNO [--attach PID] -- COMMAND…
//   inject --report FD --side SIDE --count [--attach PID] -- COMMAND…
//
// SIDE is `launcher` or `boot`. `launcher` is the command itself, from its exec on. `boot` is each process
// that the command makes, or with --attach that process instead. Each process has its own count of calls.
// KILL kills the process before the call. ERRNO is a number: the call is not made and returns that errno
// (close() is made all the same, as in the kernel). Afterwards the processes run untraced.
//
// The report goes to FD. With --count it is a line "NUMBER TIMES" for each system call of the side; if there
// are several processes, TIMES is the largest count. Without --count it is "struck" or "missed". The exit
// status is that of the command, 128 + N if a signal ended it, and 125 for errors of inject itself.

#include <elf.h>
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace {

constexpr int kKill = 0;  // instead of an errno
constexpr int kOwnError = 125;

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "inject: %s: %s\n", what.c_str(), std::strerror(errno));
  std::_Exit(kOwnError);
}

struct Order {
  bool boot_side = false;
  bool count = false;
  std::uint64_t call = 0;
  int nth = 0;
  int fault = kKill;
  pid_t attach = 0;
  int report = 2;
  char** command = nullptr;
};

int number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    errno = EINVAL;
    give_up("'" + std::string(text) + "'");
  }
  return value;
}

Order parse(int argc, char** argv) {
  Order order;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--" && i + 1 < argc) {
      order.command = argv + i + 1;
      return order;
    }
    if (word == "--count") {
      order.count = true;
      continue;
    }
    if (i + 1 >= argc) break;
    const std::string_view value = argv[++i];
    if (word == "--side") {
      order.boot_side = value == "boot";
    } else if (word == "--call") {
      order.call = static_cast<std::uint64_t>(number(value));
    } else if (word == "--nth") {
      order.nth = number(value);
    } else if (word == "--fault") {
      order.fault = value == "KILL" ? kKill : number(value);
    } else if (word == "--report") {
      order.report = number(value);
    } else if (word == "--attach") {
      order.attach = number(value);
    } else {
      break;
    }
  }
  errno = EINVAL;
  give_up(
      "usage: inject --side SIDE (--count | --call NUMBER --nth N --fault FAULT) [--attach PID] -- COMMAND");
}

/// Returns the process of a task.
pid_t process_of(pid_t task) {
  std::ifstream status("/proc/" + std::to_string(task) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("Tgid:")) return static_cast<pid_t>(std::strtol(line.c_str() + 5, nullptr, 10));
  return task;
}

class Tracer {
 public:
  explicit Tracer(const Order& order) : order_(order) {}

  int run() {
    if (order_.attach != 0) attach();
    int go[2];
    if (::pipe2(go, O_CLOEXEC) != 0) give_up("pipe");
    command_ = ::fork();
    if (command_ < 0) give_up("fork");
    if (command_ == 0) {
      char byte = 0;
      ::close(order_.report);
      if (::read(go[0], &byte, 1) != 1) std::_Exit(kOwnError);
      ::execv(order_.command[0], order_.command);
      give_up(order_.command[0]);
    }
    if (order_.attach == 0 && ::ptrace(PTRACE_SEIZE, command_, 0, kOptions) != 0) give_up("ptrace");
    if (::write(go[1], "x", 1) != 1) give_up("write");
    ::close(go[0]);
    ::close(go[1]);
    while (true) {
      int status = 0;
      const pid_t task = ::waitpid(-1, &status, __WALL);
      if (task < 0) give_up("waitpid");
      if (WIFSTOPPED(status)) {
        stopped(task, status);
      } else if (task == command_) {
        report();
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
      }
    }
  }

 private:
  static constexpr long kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                                   PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;

  struct Task {
    pid_t process = 0;
    bool watched = false;
    bool to_fail = false;             // the current call gets the errno at its end
    unsigned long long argument = 0;  // the original argument of the call, if it was replaced
  };

  void attach() {
    for (const auto& entry :
         std::filesystem::directory_iterator("/proc/" + std::to_string(order_.attach) + "/task")) {
      const pid_t task = number(entry.path().filename().string());
      if (::ptrace(PTRACE_SEIZE, task, 0, kOptions) != 0) give_up("ptrace");
      if (::ptrace(PTRACE_INTERRUPT, task, 0, 0) != 0) give_up("ptrace");
      int status = 0;
      if (::waitpid(task, &status, __WALL) != task || !WIFSTOPPED(status)) give_up("waitpid");
      tasks_[task] = {order_.attach, true, false};
      go_on(task, 0);
    }
  }

  void go_on(pid_t task, int signal) {
    const auto how = done_ && !tasks_[task].to_fail ? PTRACE_CONT : PTRACE_SYSCALL;
    ::ptrace(how, task, 0, signal);  // fails if the task was killed; waitpid reports that
  }

  void stopped(pid_t task, int status) {
    const int signal = WSTOPSIG(status);
    const int event = status >> 16;
    if (signal == (SIGTRAP | 0x80)) {
      if (const auto known = tasks_.find(task); known == tasks_.end()) meet(task);
      system_call(task);
      return;
    }
    if (!tasks_.contains(task)) meet(task);
    if (event == PTRACE_EVENT_EXEC && task == command_) tasks_[task].watched = !order_.boot_side;
    if (event == PTRACE_EVENT_STOP && (signal == SIGSTOP || signal == SIGTSTP)) {
      ::ptrace(PTRACE_LISTEN, task, 0, 0);
      return;
    }
    go_on(task, event != 0 ? 0 : signal);
  }

  /// Registers a new task. Calls of the command before its exec are calls of inject and do not count.
  void meet(pid_t task) {
    const pid_t process = process_of(task);
    const bool launcher = process == command_;
    const bool watched = order_.attach != 0 ? true : launcher ? tasks_[command_].watched : order_.boot_side;
    tasks_[task] = {process, watched, false};
  }

  void system_call(pid_t task) {
    Task& of = tasks_[task];
    __ptrace_syscall_info info{};
    if (::ptrace(PTRACE_GET_SYSCALL_INFO, task, sizeof info, &info) <= 0) return go_on(task, 0);
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY && of.watched && !done_) {
      const int times = ++counts_[{of.process, info.entry.nr}];
      if (!order_.count && info.entry.nr == order_.call && times == order_.nth) {
        done_ = true;
        if (order_.fault == kKill) {
          ::kill(of.process, SIGKILL);
          return;
        }
        of.to_fail = true;
        if (order_.call == SYS_brk)
          of.argument = exchange_argument(task, 0);
        else if (order_.call != SYS_close)
          set_call(task, -1);
      }
    } else if (info.op == PTRACE_SYSCALL_INFO_EXIT && of.to_fail) {
      of.to_fail = false;
      // brk() has no errno: if it fails, it returns the current break, as it does for the argument 0.
      if (order_.call == SYS_brk)
        restore_argument(task, of.argument);
      else
        set_result(task, -order_.fault);
    }
    go_on(task, 0);
  }

#if defined(__x86_64__)
  static void set_call(pid_t task, long call) {
    if (::ptrace(PTRACE_POKEUSER, task, offsetof(user_regs_struct, orig_rax), call) != 0) give_up("ptrace");
  }
  static void set_result(pid_t task, long result) {
    if (::ptrace(PTRACE_POKEUSER, task, offsetof(user_regs_struct, rax), result) != 0) give_up("ptrace");
  }
  static unsigned long long exchange_argument(pid_t task, unsigned long long value) {
    user_regs_struct registers{};
    if (::ptrace(PTRACE_GETREGS, task, 0, &registers) != 0) give_up("ptrace");
    const auto old = std::exchange(registers.rdi, value);
    if (::ptrace(PTRACE_SETREGS, task, 0, &registers) != 0) give_up("ptrace");
    return old;
  }
  static void restore_argument(pid_t task, unsigned long long value) { (void)exchange_argument(task, value); }
#elif defined(__aarch64__)
  static void set_call(pid_t task, int call) {
    iovec all = {&call, sizeof call};
    if (::ptrace(PTRACE_SETREGSET, task, NT_ARM_SYSTEM_CALL, &all) != 0) give_up("ptrace");
  }
  static void set_result(pid_t task, long result) {
    (void)exchange_argument(task, static_cast<unsigned long long>(result));
  }
  /// Sets the register of the first argument, which is also that of the result, and returns the old value.
  static unsigned long long exchange_argument(pid_t task, unsigned long long value) {
    user_regs_struct registers{};
    iovec all = {&registers, sizeof registers};
    if (::ptrace(PTRACE_GETREGSET, task, NT_PRSTATUS, &all) != 0) give_up("ptrace");
    const auto old = std::exchange(registers.regs[0], value);
    all.iov_len = sizeof registers;
    if (::ptrace(PTRACE_SETREGSET, task, NT_PRSTATUS, &all) != 0) give_up("ptrace");
    return old;
  }
  static void restore_argument(pid_t, unsigned long long) {}
#endif

  void report() const {
    std::string text;
    if (order_.count) {
      std::map<std::uint64_t, int> most;
      for (const auto& [key, times] : counts_) most[key.second] = std::max(most[key.second], times);
      for (const auto& [call, times] : most)
        text += std::to_string(call) + " " + std::to_string(times) + "\n";
    } else {
      text = done_ ? "struck\n" : "missed\n";
    }
    if (::write(order_.report, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      give_up("the report");
  }

  const Order order_;
  pid_t command_ = 0;
  bool done_ = false;
  std::map<pid_t, Task> tasks_;
  std::map<std::pair<pid_t, std::uint64_t>, int> counts_;
};

}  // namespace

int main(int argc, char** argv) { return Tracer(parse(argc, argv)).run(); }
