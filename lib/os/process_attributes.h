#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ipcm/basics.h"

namespace ipcm::os {

/// The user that a process runs as.
struct Identity {
  unsigned user = 0, group = 0;
  std::vector<unsigned> groups = {};  ///< the supplementary groups
};

/// A limit of a process on one resource; see setrlimit(2).
struct ResourceLimit {
  int resource = 0;
  std::uint64_t soft = 0, hard = 0;
};
inline constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};

/// Returns the number of a resource such as "nofile"; nullopt: there is no such resource.
[[nodiscard]] std::optional<int> resource_number(const std::string& name);
/// Returns the names of all resources.
[[nodiscard]] std::vector<std::string> resource_names();

/// The attributes of a new process. It has those of the caller where nothing is set.
struct ProcessAttributes {
  bool new_group = false;                 ///< It leads a process group of its own.
  bool ends_with_parent = false;          ///< The kernel kills it when the thread that made it ends.
  std::optional<Identity> identity = {};  ///< Needs CAP_SETUID and CAP_SETGID.
  std::optional<unsigned> umask = {};     ///< Permission bits that new files do not get.
  std::vector<ResourceLimit> limits = {};
  std::optional<int> nice = {};    ///< -20 to 19.
  bool no_new_privileges = false;  ///< Set-user-ID programs and capabilities of files have no effect.
};

/// The same without memory to manage, for a child that shares our memory. Borrows from ProcessAttributes.
struct FlatAttributes {
  explicit FlatAttributes(const ProcessAttributes& attributes);
  FlatAttributes() = default;

  const ResourceLimit* limits = nullptr;
  std::size_t limit_count = 0;
  const unsigned* groups = nullptr;
  std::size_t group_count = 0;
  unsigned user = 0, group = 0;
  Pid parent = 0;  // to end with; 0: none
  bool has_identity = false, new_group = false, no_new_privileges = false;
  std::optional<unsigned> umask = {};
  std::optional<int> nice = {};
};

/// A system call that failed; its result is -errno. `call` is null if none failed.
struct FailedCall {
  const char* call = nullptr;
  long result = 0;
};
/// Gives this process the attributes, by system calls without the C library.
[[nodiscard]] FailedCall apply(const FlatAttributes& attributes) noexcept;

}  // namespace ipcm::os
