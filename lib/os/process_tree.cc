#include "os/process_tree.h"

#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <map>

#include "os/directory.h"
#include "os/process.h"
#include "os/sys.h"

namespace ipcm::os {
namespace {

/// Returns the processes that /proc lists; empty if it can't be read.
std::vector<Pid> listed_processes() {
  std::vector<Pid> all;
  try {
    for (const std::string& name : Directory("/proc").names()) {
      Pid pid = 0;
      const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
      if (error == std::errc() && end == name.data() + name.size()) all.push_back(pid);
    }
  } catch (const SystemError&) {
    all.clear();
  }
  return all;
}

/// Returns the children of each process.
std::multimap<Pid, Pid> children_by_parent() {
  std::multimap<Pid, Pid> children;
  for (const Pid pid : listed_processes())
    if (const auto parent = parent_of(pid)) children.emplace(*parent, pid);
  return children;
}

/// A child of ours is not reaped meanwhile, so its number is its own. For others, the kernel is asked again once a pidfd
/// holds the process: its number may have been given to another one. Its parent may be another one by now: it may just
/// have got the signal, which leaves its children to this process.
void signal_descendant(Pid pid, Pid parent, int signal) {
  if (parent == own_pid()) {
    (void)::kill(pid, signal);
    return;
  }
  const auto process = open_process(pid);
  if (process && is_descendant(pid)) (void)signal_process(process->get(), signal);
}

template <class Call>
void for_each_descendant(Call&& call) {
  const auto children = children_by_parent();
  std::vector<Pid> parents = {own_pid()};
  for (std::size_t i = 0; i < parents.size(); ++i) {
    const auto [first, last] = children.equal_range(parents[i]);
    for (auto child = first; child != last; ++child) {
      call(child->second, child->first);
      parents.push_back(child->second);
    }
  }
}

}  // namespace

bool is_descendant(Pid pid) {
  constexpr int kDeepest = 1000;
  const Pid self = own_pid();
  Pid ancestor = pid;
  for (int depth = 0; ancestor > 1 && depth < kDeepest; ++depth) {
    const auto parent = parent_of(ancestor);
    if (parent == self) return true;
    if (!parent && ancestor == pid) return false;
    // An ancestor that was reaped meanwhile has left its children to another one.
    ancestor = parent.value_or(pid);
  }
  return false;
}

void signal_session(Pid leader, int signal) {
  // 0 is the session of every process whose leader lives in another pid namespace.
  if (leader <= 0) return;
  const auto belongs = [leader](Pid pid) { return ::getsid(pid) == leader; };
  for (const Pid pid : listed_processes()) {
    if (pid == leader || !belongs(pid)) continue;
    try {
      const auto process = open_process(pid);
      if (process && belongs(pid)) (void)signal_process(process->get(), signal);
    } catch (const Error&) {
      continue;
    }
  }
}

bool has_children() noexcept {
  siginfo_t info{};
  return quiet([&] { return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT); }) == 0;
}

std::vector<Pid> descendants() {
  std::vector<Pid> all;
  for_each_descendant([&](Pid pid, Pid) { all.push_back(pid); });
  return all;
}

void signal_descendants(int signal) {
  for_each_descendant([&](Pid pid, Pid parent) {
    try {
      signal_descendant(pid, parent, signal);
    } catch (const Error&) {
      return;  // it runs as another user, or a descriptor is lacking
    }
  });
}

bool signal_group_of_child(Pid group, int signal) noexcept {
  siginfo_t info{};
  if (quiet([&] { return ::waitid(P_PGID, static_cast<id_t>(group), &info, WEXITED | WNOHANG | WNOWAIT); }) !=
      0)
    return false;
  return ::kill(-group, signal) == 0;
}

}  // namespace ipcm::os
