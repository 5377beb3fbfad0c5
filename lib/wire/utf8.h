#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ipcm::wire {

inline constexpr std::uint32_t kNoCharacter = 0xFFFFFFFFU;

/// Returns the code point at `at` and moves `at` past it. Returns kNoCharacter for invalid UTF-8 (RFC 3629:
/// no overlong forms, no surrogates), and leaves `at` unchanged then.
[[nodiscard]] std::uint32_t decode_utf8(std::string_view text, std::size_t& at) noexcept;
void append_utf8(std::string& into, std::uint32_t point);

[[nodiscard]] bool is_utf8(std::string_view text);
[[nodiscard]] bool is_ascii(std::string_view text);

/// Returns the position of the first byte from `at` on that is not ASCII, or `end`. Checks eight bytes at a
/// time.
[[nodiscard]] const char* skip_ascii(const char* at, const char* end) noexcept;

/// Returns the position of the first byte from `at` on that may not stand in a JSON string as it is (a quote,
/// a backslash, a control character, or a byte that is not ASCII), or `end`. Checks sixteen bytes at a time,
/// and more in long strings. Written by hand, because every received byte passes here and no library in
/// Debian offers the function by itself; simdjson has it only inside its parser.
[[nodiscard]] const char* skip_plain(const char* at, const char* end) noexcept;

}  // namespace ipcm::wire
