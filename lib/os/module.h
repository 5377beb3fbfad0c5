#pragma once

#include <string>

namespace ipcm::os {

/// Whether this process can load shared modules at all: a statically linked program can't.
[[nodiscard]] bool can_load_modules() noexcept;

/// A shared module that was loaded when it was needed. It stays loaded until the process ends: what it has
/// handed out (threads, handlers, memory) can't be called back.
class Module {
 public:
  Module() noexcept = default;
  /// Loads a file, with all that it needs and nothing of it visible to others. Empty: `why` tells, in the
  /// loader's words.
  [[nodiscard]] static Module load(const std::string& path, std::string& why);
  [[nodiscard]] explicit operator bool() const noexcept { return handle_ != nullptr; }
  /// The address of a symbol with C linkage; null: it has none of that name.
  [[nodiscard]] void* find(const char* symbol) const noexcept;

 private:
  explicit Module(void* handle) noexcept : handle_(handle) {}
  void* handle_ = nullptr;
};

}  // namespace ipcm::os
