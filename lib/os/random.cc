#include "os/random.h"

#include <sys/random.h>

#include <array>
#include <chrono>
#include <string_view>

#include "os/descriptor.h"
#include "os/sys.h"

namespace ipcm::os {
namespace {

/// splitmix64 (Steele, Lea, Flood 2014): a counter through a mixing function; every seed gives a full period.
struct Generator {
  std::uint64_t counter = 0;
  std::uint32_t seeded_in = 0;  // generation: two processes must not share a stream

  std::uint64_t next() {
    if (seeded_in != generation()) {
      sys("seed", "random numbers", [&] { return ::getrandom(&counter, sizeof counter, 0); });
      seeded_in = generation();
    }
    std::uint64_t mixed = counter += 0x9E3779B97F4A7C15U;
    mixed = (mixed ^ (mixed >> 30U)) * 0xBF58476D1CE4E5B9U;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94D049BB133111EBU;
    return mixed ^ (mixed >> 31U);
  }
};

}  // namespace

std::uint64_t random_bits() {
  thread_local Generator generator;
  return generator.next();
}

std::string random_name(std::size_t length) {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  std::string name(length, ' ');
  for (char& letter : name) letter = kLetters[random_bits() % kLetters.size()];
  return name;
}

std::string make_uuid() { return make_uuid(std::chrono::system_clock::now()); }

std::string make_uuid(std::chrono::system_clock::time_point now) {
  const auto ms = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count());
  const std::uint64_t a = random_bits(), b = random_bits();
  const std::uint64_t high = (ms << 16U) | 0x7000U | (a & 0x0FFFU);
  const std::uint64_t low = (b & 0x3FFFFFFFFFFFFFFFU) | 0x8000000000000000U;
  static constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string text(36, '-');
  char* at = text.data();
  const auto put = [&at](std::uint64_t bits, unsigned digits) {
    for (unsigned left = digits; left-- > 0;) *at++ = kDigits[(bits >> (left * 4)) & 0xFU];
  };
  put(high >> 32U, 8), ++at;
  put(high >> 16U, 4), ++at;
  put(high, 4), ++at;
  put(low >> 48U, 4), ++at;
  put(low, 12);
  return text;
}

}  // namespace ipcm::os
