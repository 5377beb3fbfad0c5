#pragma once

#include <cstddef>
#include <cstdint>

namespace ipcm::test {

/// A generator of small random numbers, the same in each run.
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
