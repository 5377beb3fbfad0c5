#pragma once

#include <string>

namespace ipcm::os {

/// Whether this process can load shared modules at all: a statically linked program cannot.
[[nodiscard]] bool can_load_modules() noexcept;

/// A shared module that is loaded on demand. It stays loaded until the process ends: threads, handlers and
/// memory that it has handed out can't be revoked.
class Module {
 public:
  Module() noexcept = default;
  /// Loads a file and its dependencies, with local symbol visibility. On failure, returns an empty module and
  /// stores the loader's message in `why`.
  [[nodiscard]] static Module load(const std::string& path, std::string& why);
  [[nodiscard]] explicit operator bool() const noexcept { return handle_ != nullptr; }
  /// Returns the address of a symbol with C linkage; null if there is no such symbol.
  [[nodiscard]] void* find(const char* symbol) const noexcept;

 private:
  explicit Module(void* handle) noexcept : handle_(handle) {}
  void* handle_ = nullptr;
};

}  // namespace ipcm::os
