#include "os/memory.h"

#include <algorithm>
#include <cstdlib>

namespace ipcm::os {

void keep_heap() noexcept {
  // glibc raises its thresholds to the size of the largest mapped block that was freed, and to twice that
  // size (mallopt(3), M_MMAP_THRESHOLD). Calling mallopt() would end that adjustment, in a program that is
  // not ours. The pages of the block are never touched.
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
  // Reserves room after the copy: malloc() places a copy of this copy right there, and with sizes of whole
  // pages the second copy would begin at the same offset in its page.
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
