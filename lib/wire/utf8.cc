#include "wire/utf8.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#if __has_include(<sys/platform/x86.h>) && !defined(__clang__)  // Clang does not know its _Bool
#include <sys/platform/x86.h>
#endif
#endif

namespace ipcm::wire {
namespace {

constexpr std::uint64_t kOnes = 0x0101010101010101, kHigh = 0x8080808080808080;

/// `marks(eight bytes)` sets the high bit of each byte at which the search must stop. By mistake it may also
/// set the bit of a byte after such a byte, because the subtraction borrows from it, but never of a byte
/// before.
template <class Marks, class Stops>
const char* skip(const char* at, const char* end, Marks marks, Stops stops) {
  for (; end - at >= 8; at += 8) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, at, 8);
    const std::uint64_t marked = marks(eight) & kHigh;
    if (marked == 0) continue;
    if constexpr (std::endian::native == std::endian::little) return at + std::countr_zero(marked) / 8;
    break;
  }
  while (at < end && !stops(static_cast<unsigned char>(*at))) ++at;
  return at;
}

/// The unit of one comparison: a vector type of GCC and Clang, available on every machine.
using Bytes [[gnu::vector_size(16)]] = signed char;

constexpr std::ptrdiff_t kVector = sizeof(Bytes);
constexpr std::size_t kVectors = 4;
constexpr std::ptrdiff_t kBlock = kVectors * kVector;

/// Returns the index of the first of the bytes at `at` that `found` marks; kVector: none.
template <class Found>
std::ptrdiff_t first_found(const char* at, Found found) noexcept {
  Bytes bytes;  // NOLINT: filled below
  std::memcpy(&bytes, at, kVector);
  const auto marks = found(bytes);
#if defined(__SSE2__)
  const auto mask = static_cast<unsigned>(_mm_movemask_epi8(reinterpret_cast<__m128i>(marks)));
  return mask == 0 ? kVector : std::countr_zero(mask);
#else
  std::array<signed char, kVector> each;  // NOLINT: filled below
  std::memcpy(each.data(), &marks, kVector);
  return std::find_if(each.begin(), each.end(), [](signed char mark) { return mark != 0; }) - each.begin();
#endif
}

/// Skips whole blocks without a byte that `found` marks; long texts consist mostly of such blocks.
template <class Found>
const char* skip_blocks(const char* at, const char* end, Found found) noexcept {
  while (end - at >= kBlock) {
    std::array<Bytes, kVectors> block;  // NOLINT: filled below
    std::memcpy(block.data(), at, kBlock);
    const auto marks = found(block[0]) | found(block[1]) | found(block[2]) | found(block[3]);
    std::array<std::uint64_t, 2> halves;  // NOLINT: filled below
    std::memcpy(halves.data(), &marks, sizeof marks);
    if ((halves[0] | halves[1]) != 0) return at;
    at += kBlock;
  }
  return at;
}

#if defined(__x86_64__)

/// Skips whole blocks as skip_plain() does, on processors that compare 32 bytes at once. Written with
/// intrinsics, since GCC splits its own vectors if they are wider than those of every processor. There is no
/// loop inside the loop, which would take twice as long.
[[gnu::target("avx2")]] const char* skip_plain_wide(const char* at, const char* end) noexcept {
  constexpr std::ptrdiff_t kWideBlock = 4 * sizeof(__m256i);
  const __m256i space = _mm256_set1_epi8(' '), quote = _mm256_set1_epi8('"'),
                backslash = _mm256_set1_epi8('\\');
  for (; end - at >= kWideBlock; at += kWideBlock) {
    const auto* const block = reinterpret_cast<const __m256i*>(at);
    const __m256i a = _mm256_loadu_si256(block), b = _mm256_loadu_si256(block + 1),
                  c = _mm256_loadu_si256(block + 2), d = _mm256_loadu_si256(block + 3);
    // As signed numbers, bytes that are not ASCII are also less than a space.
    const __m256i least = _mm256_min_epi8(_mm256_min_epi8(a, b), _mm256_min_epi8(c, d));
    const __m256i quotes =
        _mm256_or_si256(_mm256_or_si256(_mm256_cmpeq_epi8(a, quote), _mm256_cmpeq_epi8(b, quote)),
                        _mm256_or_si256(_mm256_cmpeq_epi8(c, quote), _mm256_cmpeq_epi8(d, quote)));
    const __m256i backslashes =
        _mm256_or_si256(_mm256_or_si256(_mm256_cmpeq_epi8(a, backslash), _mm256_cmpeq_epi8(b, backslash)),
                        _mm256_or_si256(_mm256_cmpeq_epi8(c, backslash), _mm256_cmpeq_epi8(d, backslash)));
    const __m256i found =
        _mm256_or_si256(_mm256_or_si256(quotes, backslashes), _mm256_cmpgt_epi8(space, least));
    if (_mm256_movemask_epi8(found) != 0) break;
  }
  return at;
}

/// Uses the result of the C library, which has already asked the processor. __builtin_cpu_supports() would
/// ask nine more times before main(), and in a virtual machine the host answers each time: a tenth of a
/// service's start.
bool has_avx2() noexcept {
#if defined(CPU_FEATURE_ACTIVE)
  return CPU_FEATURE_ACTIVE(AVX2);
#else
  return __builtin_cpu_supports("avx2") != 0;
#endif
}

/// Asks for the ability of the processor only if the text is long enough.
const char* skip_plain_in_long(const char* at, const char* end) noexcept {
  constexpr std::ptrdiff_t kLong = 1024;
  static const bool is_wide = has_avx2();
  return end - at >= kLong && is_wide ? skip_plain_wide(at, end) : at;
}

#else

const char* skip_plain_in_long(const char* at, const char*) noexcept { return at; }

#endif

}  // namespace

const char* skip_ascii(const char* at, const char* end) noexcept {
  at = skip_blocks(at, end, [](Bytes bytes) { return bytes < 0; });
  return skip(
      at, end, [](std::uint64_t eight) { return eight; }, [](unsigned char c) { return c >= 0x80; });
}

const char* skip_plain(const char* at, const char* end) noexcept {
  // As signed numbers, bytes that are not ASCII are also less than a space.
  const auto found = [](Bytes bytes) { return (bytes < 0x20) | (bytes == '"') | (bytes == '\\'); };
  /// Searches in whole vectors up to `to`. Returns true if it has found the byte; `at` is then its position.
  const auto stops_before = [&at, found](const char* to) {
    for (; to - at >= kVector; at += kVector)
      if (const std::ptrdiff_t place = first_found(at, found); place < kVector) return at += place, true;
    return false;
  };
  const char* const begin = at;
  // Most strings are short. Blocks pay off only for a search that has come this far.
  const char* const near = at + std::min(end - at, kBlock);
  if (stops_before(near)) return at;
  if (near != end) {
    at = skip_blocks(skip_plain_in_long(at, end), end, found);
    if (stops_before(end)) return at;
  }
  if (at != end && end - begin >= kVector) {
    // The last bytes, in one vector together with bytes that are already checked.
    at = end - kVector;
    return stops_before(end) ? at : end;
  }
  return skip(
      at, end,
      [](std::uint64_t eight) {
        return (eight - kOnes * 0x20) | ((eight ^ kOnes * '"') - kOnes) | ((eight ^ kOnes * '\\') - kOnes) |
               eight;
      },
      [](unsigned char c) { return c < 0x20 || c >= 0x80 || c == '"' || c == '\\'; });
}

bool is_ascii(std::string_view text) {
  const char* const end = text.data() + text.size();
  return skip_ascii(text.data(), end) == end;
}

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80)
      at = static_cast<std::size_t>(skip_ascii(&text[at], text.data() + text.size()) - text.data());
    else if (decode_utf8(text, at) == kNoCharacter)
      return false;
  }
  return true;
}

std::uint32_t decode_utf8(std::string_view text, std::size_t& at) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(at);
  std::size_t length = 0;
  std::uint32_t point = 0, least = 0;
  if (lead < 0x80) {
    ++at;
    return lead;
  }
  if ((lead & 0xE0U) == 0xC0U) {
    length = 2, point = lead & 0x1FU, least = 0x80;
  } else if ((lead & 0xF0U) == 0xE0U) {
    length = 3, point = lead & 0x0FU, least = 0x800;
  } else if ((lead & 0xF8U) == 0xF0U) {
    length = 4, point = lead & 0x07U, least = 0x10000;
  } else {
    return kNoCharacter;
  }
  if (text.size() - at < length) return kNoCharacter;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0U) != 0x80U) return kNoCharacter;
    point = (point << 6U) | (byte(at + i) & 0x3FU);
  }
  if (point < least || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) return kNoCharacter;
  at += length;
  return point;
}

void append_utf8(std::string& into, std::uint32_t point) {
  const auto put = [&](std::uint32_t byte) { into.push_back(static_cast<char>(byte)); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xC0U | (point >> 6U)), put(0x80U | (point & 0x3FU));
  } else if (point < 0x10000) {
    put(0xE0U | (point >> 12U)), put(0x80U | ((point >> 6U) & 0x3FU)), put(0x80U | (point & 0x3FU));
  } else {
    put(0xF0U | (point >> 18U)), put(0x80U | ((point >> 12U) & 0x3FU));
    put(0x80U | ((point >> 6U) & 0x3FU)), put(0x80U | (point & 0x3FU));
  }
}

}  // namespace ipcm::wire
