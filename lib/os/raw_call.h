#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace ipcm::os {

// System calls without the C library: no errno, no cancellation. For code in a child that shares our memory:
// there, errno is the parent's.

#if defined(__x86_64__) || defined(__aarch64__)
/// Whether raw_call() leaves errno alone on this machine.
inline constexpr bool kRawCallsAreRaw = true;
#else
inline constexpr bool kRawCallsAreRaw = false;
#endif

/// Returns the result, or -errno.
__attribute__((no_sanitize("address", "undefined"))) inline long raw_call(long number, long a = 0, long b = 0,
                                                                          long c = 0, long d = 0,
                                                                          long e = 0) noexcept {
#if defined(__x86_64__)
  long result = number;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  asm volatile("syscall" : "+a"(result) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 asm("x8") = number;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = e;
  asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
  return x0;
#else
  const long result = ::syscall(number, a, b, c, d, e);
  return result < 0 ? -errno : result;
#endif
}

/// Converts a pointer to an argument of a system call.
template <class T>
[[nodiscard]] long raw(T* pointer) noexcept {
  return reinterpret_cast<long>(pointer);
}

}  // namespace ipcm::os
