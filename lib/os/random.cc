#include "os/random.h"

#include <sys/random.h>

#include <array>
#include <bit>
#include <chrono>
#include <cstring>
#include <string_view>

#include "os/descriptor.h"
#include "os/sys.h"

namespace ipcm::os {
namespace {

/// splitmix64 (Steele, Lea, Flood 2014): a counter through a mixing function; every seed gives a full period.
struct Generator {
  std::uint64_t counter = 0;
  std::uint32_t seeded_in = 0;  // the generation: two processes must not share a sequence

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

/// Converts eight digits at once: spreads each to a byte of its own, and makes the letters by addition.
std::uint64_t eight_hex_digits(std::uint32_t bits) {
  std::uint64_t each = bits;
  each = (each | each << 16U) & 0x0000FFFF0000FFFF;
  each = (each | each << 8U) & 0x00FF00FF00FF00FF;
  each = (each | each << 4U) & 0x0F0F0F0F0F0F0F0F;
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  // 1 in each byte whose digit is 10 or more
  const std::uint64_t letters = ((each + kOnes * 6) >> 4U) & kOnes;
  const std::uint64_t text = each + kOnes * '0' + letters * ('A' - '0' - 10);
  return std::endian::native == std::endian::little ? __builtin_bswap64(text) : text;
}

std::array<char, 16> hex_digits(std::uint64_t bits) {
  const std::array<std::uint64_t, 2> halves{eight_hex_digits(static_cast<std::uint32_t>(bits >> 32U)),
                                            eight_hex_digits(static_cast<std::uint32_t>(bits))};
  return std::bit_cast<std::array<char, 16>>(halves);
}

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
  // The text form: 8-4-4-4-12 digits.
  const auto digits = hex_digits(high), more = hex_digits(low);
  std::string text(36, '-');
  const auto put = [&text](std::size_t at, const char* from, std::size_t count) {
    std::memcpy(text.data() + at, from, count);
  };
  put(0, digits.data(), 8);
  put(9, digits.data() + 8, 4);
  put(14, digits.data() + 12, 4);
  put(19, more.data(), 4);
  put(24, more.data() + 4, 12);
  return text;
}

}  // namespace ipcm::os
