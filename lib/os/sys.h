#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <type_traits>

#include "ipcm/error.h"

namespace ipcm::os {

/// Runs one system call: retries after EINTR, otherwise throws SystemError, e.g. "bind '/run/x': Address
/// already in use". `subject` is text, or a function that returns it, called only on failure.
template <class Subject, class Call>
auto sys(const char* what, const Subject& subject, Call&& call) {
  for (;;) {
    const auto result = call();
    if (result >= 0) return result;
    const int error = errno;  // first: any later call may change it
    if (error == EINTR) continue;
    if constexpr (std::is_invocable_v<const Subject&>)
      throw SystemError(error, std::string(what) + " '" + std::string(subject()) + "'");
    else
      throw SystemError(error, std::string(what) + " '" + std::string(subject) + "'");
  }
}

/// The same, for callers that handle errors themselves: returns -1 with errno, never EINTR.
template <class Call>
auto quiet(Call&& call) noexcept {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

/// Returns the text of strerror() for an errno.
[[nodiscard]] std::string errno_text(int error);

}  // namespace ipcm::os
