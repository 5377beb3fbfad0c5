#include "os/memory.h"

#include <algorithm>
#include <cstdlib>

namespace ipcm::os {

void keep_heap() noexcept {
  // glibc raises its thresholds to the size of the largest mapped block that was freed, and twice that
  // (mallopt(3), M_MMAP_THRESHOLD). To say so with mallopt() itself would end that adjustment, in a program
  // that is not ours. The block's pages are never touched.
  static const bool done = [] {
    constexpr std::size_t kLarge = 4UL * 1024 * 1024;
    void* volatile block = std::malloc(kLarge);
    std::free(block);
    return true;
  }();
  (void)done;
}

namespace {

constexpr std::size_t kStep = 2048;

}  // namespace

std::string copy_of(std::string_view bytes) {
  if (bytes.size() <= kStep) return std::string(bytes);
  return copy_of(bytes, [](std::string_view) {});
}

std::string copy_of(std::string_view bytes, const std::function<void(std::string_view)>& look) {
  constexpr std::size_t kRoom = 256;
  std::string copy;
  // With room behind it: malloc() puts a copy of the copy right there, and sizes in whole pages would put
  // that in the same place of its page.
  copy.reserve(bytes.size() + kRoom);
  for (; !bytes.empty(); bytes.remove_prefix(std::min(kStep, bytes.size()))) {
    const std::size_t before = copy.size();
    copy.append(bytes.substr(0, kStep));
    look(std::string_view(copy).substr(before));
  }
  return copy;
}

void copy_to(char* into, std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const std::size_t step = bytes.copy(into, kStep);
    into += step;
    bytes.remove_prefix(step);
  }
}

}  // namespace ipcm::os
