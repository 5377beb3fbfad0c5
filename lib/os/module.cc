#include "os/module.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>

// Weak: a static program may be linked without these functions (boot/meson.build), and only a dynamic one
// calls them.
extern "C" {
[[gnu::weak]] void* dlopen(const char* file, int mode) noexcept;
[[gnu::weak]] void* dlsym(void* handle, const char* name) noexcept;
[[gnu::weak]] char* dlerror() noexcept;
}

namespace ipcm::os {
namespace {

/// Whether the kernel started this program through a loader.
bool has_loader() noexcept {
  // The kernel passes the address as a number. NOLINTNEXTLINE(performance-no-int-to-ptr)
  const auto* header = reinterpret_cast<const ElfW(Phdr)*>(::getauxval(AT_PHDR));
  const unsigned long count = ::getauxval(AT_PHNUM);
  for (unsigned long i = 0; header != nullptr && i < count; ++i)
    if (header[i].p_type == PT_INTERP) return true;
  return false;
}

std::string last_error() {
  const char* text = ::dlerror();
  return text != nullptr ? text : "the loader does not say why";
}

}  // namespace

bool can_load_modules() noexcept {
  // Calls through volatile pointers: the compiler assumes that functions are never null.
  void* (*volatile open)(const char*, int) noexcept = &::dlopen;
  return open != nullptr && has_loader();
}

Module Module::load(const std::string& path, std::string& why) {
  if (!can_load_modules()) {
    why = "this program is linked statically and can't load modules";
    return {};
  }
  void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) why = last_error();
  return Module(handle);
}

void* Module::find(const char* symbol) const noexcept {
  return handle_ != nullptr ? ::dlsym(handle_, symbol) : nullptr;
}

}  // namespace ipcm::os
