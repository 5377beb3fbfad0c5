#include "os/memory.h"

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

}  // namespace ipcm::os
