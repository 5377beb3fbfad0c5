#include "os/process_attributes.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <utility>

#include "os/raw_call.h"

namespace ipcm::os {
namespace {

constexpr std::array<std::pair<const char*, int>, 15> kResources{{
    {"as", RLIMIT_AS},
    {"core", RLIMIT_CORE},
    {"cpu", RLIMIT_CPU},
    {"data", RLIMIT_DATA},
    {"fsize", RLIMIT_FSIZE},
    {"memlock", RLIMIT_MEMLOCK},
    {"msgqueue", RLIMIT_MSGQUEUE},
    {"nice", RLIMIT_NICE},
    {"nofile", RLIMIT_NOFILE},
    {"nproc", RLIMIT_NPROC},
    {"rss", RLIMIT_RSS},
    {"rtprio", RLIMIT_RTPRIO},
    {"rttime", RLIMIT_RTTIME},
    {"sigpending", RLIMIT_SIGPENDING},
    {"stack", RLIMIT_STACK},
}};

}  // namespace

std::optional<int> resource_number(const std::string& name) {
  for (const auto& [known, number] : kResources)
    if (name == known) return number;
  return std::nullopt;
}

std::vector<std::string> resource_names() {
  std::vector<std::string> names;
  names.reserve(kResources.size());
  for (const auto& known : kResources) names.emplace_back(known.first);
  return names;
}

FlatAttributes::FlatAttributes(const ProcessAttributes& attributes)
    : limits(attributes.limits.data()),
      limit_count(attributes.limits.size()),
      parent(attributes.ends_with_parent ? ::getpid() : 0),
      has_identity(attributes.identity.has_value()),
      new_group(attributes.new_group),
      no_new_privileges(attributes.no_new_privileges),
      umask(attributes.umask),
      nice(attributes.nice) {
  if (!attributes.identity) return;
  groups = attributes.identity->groups.data();
  group_count = attributes.identity->groups.size();
  user = attributes.identity->user;
  group = attributes.identity->group;
}

// The caller may run on a stack that the address sanitizer does not know.
__attribute__((no_sanitize("address", "undefined"), noinline)) FailedCall apply(
    const FlatAttributes& attributes) noexcept {
  long result = 0;
  if (attributes.new_group)
    if (result = raw_call(SYS_setpgid, 0, 0); result < 0) return {"setpgid", result};
  if (attributes.umask) (void)raw_call(SYS_umask, static_cast<long>(*attributes.umask));
  // Before the change of the user, which may take away the right to raise limits.
  for (std::size_t i = 0; i < attributes.limit_count; ++i) {
    const ResourceLimit& one = attributes.limits[i];
    const std::uint64_t limit[2] = {one.soft, one.hard};  // NOLINT: no library code here
    if (result = raw_call(SYS_prlimit64, 0, one.resource, raw(&limit[0])); result < 0)
      return {"prlimit", result};
  }
  if (attributes.nice)
    if (result = raw_call(SYS_setpriority, PRIO_PROCESS, 0, *attributes.nice); result < 0)
      return {"setpriority", result};
  if (attributes.has_identity) {
    const long user = attributes.user, group = attributes.group;
    if (result = raw_call(SYS_setgroups, static_cast<long>(attributes.group_count), raw(attributes.groups));
        result < 0)
      return {"setgroups", result};
    if (result = raw_call(SYS_setresgid, group, group, group); result < 0) return {"setresgid", result};
    if (result = raw_call(SYS_setresuid, user, user, user); result < 0) return {"setresuid", result};
  }
  if (attributes.no_new_privileges)
    if (result = raw_call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1); result < 0) return {"prctl", result};
  if (attributes.parent != 0) {  // after the change of the user, at which the kernel forgets this
    if (result = raw_call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL); result < 0) return {"prctl", result};
    if (raw_call(SYS_getppid) != attributes.parent)  // it ended before that call
      for (;;) (void)raw_call(SYS_exit_group, 127);
  }
  return {};
}

}  // namespace ipcm::os
