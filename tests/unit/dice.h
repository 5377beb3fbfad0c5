#pragma once

#include <cstddef>
#include <cstdint>

namespace ipcm::test {

/// One small random number after the other, the same each time.
class Dice {
 public:
  std::size_t below(std::size_t limit) {
    constexpr std::uint64_t kFactor = 6364136223846793005ULL, kStep = 1442695040888963407ULL;
    state_ = state_ * kFactor + kStep;
    return static_cast<std::size_t>(state_ >> 33U) % limit;
  }

 private:
  std::uint64_t state_ = 20;
};

}  // namespace ipcm::test
