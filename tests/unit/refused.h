#pragma once

// Makes the kernel refuse system calls in a forked child of a test, as a sandbox or an older kernel does.

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ipcm::test {

struct Refused {
  long call;
  int error;
  int argument = -1;        ///< the number of an argument; -1: refuse every call
  std::uint32_t mask = 0;   ///< the bits of the argument that are compared
  std::uint32_t value = 0;  ///< the call is refused if the bits have this value
};

/// Refuses the calls from now on, in this process and its descendants. Returns false if the kernel has no
/// such filters.
[[nodiscard]] inline bool refuse(const std::vector<Refused>& all) {
  std::vector<sock_filter> program;
  const auto statement = [&](unsigned code, std::uint32_t value) {
    program.push_back(sock_filter{static_cast<std::uint16_t>(code), 0, 0, value});
  };
  const auto unless_equal_skip = [&](std::uint32_t value, unsigned skipped) {
    program.push_back(sock_filter{BPF_JMP | BPF_JEQ | BPF_K, 0, static_cast<std::uint8_t>(skipped), value});
  };
  for (const Refused& one : all) {
    statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
    unless_equal_skip(static_cast<std::uint32_t>(one.call), one.argument < 0 ? 1 : 4);
    if (one.argument >= 0) {
      // The low half of the argument, on a little-endian machine.
      statement(BPF_LD | BPF_W | BPF_ABS,
                static_cast<std::uint32_t>(offsetof(seccomp_data, args) +
                                           static_cast<std::size_t>(one.argument) * sizeof(std::uint64_t)));
      statement(BPF_ALU | BPF_AND | BPF_K, one.mask);
      unless_equal_skip(one.value, 1);
    }
    statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(one.error));
  }
  statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) == 0;
}

/// PIDFD_GET_INFO. Linux has it since 6.13, and the exit status in it since 6.15.
inline constexpr std::uint32_t kPidfdGetInfo = 0xc040ff0b;

}  // namespace ipcm::test
