#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ipcm::wire {

inline constexpr std::uint32_t kNoCharacter = 0xFFFFFFFFU;

/// The code point at `at`, which moves past it; kNoCharacter for what is no UTF-8 (RFC 3629: no overlong
/// forms, no surrogates), where `at` stays.
[[nodiscard]] std::uint32_t decode_utf8(std::string_view text, std::size_t& at) noexcept;
void append_utf8(std::string& into, std::uint32_t point);

[[nodiscard]] bool is_utf8(std::string_view text);
[[nodiscard]] bool is_ascii(std::string_view text);

/// From `at` to the first byte that is not ASCII, or to `end`; eight bytes at a time.
[[nodiscard]] const char* skip_ascii(const char* at, const char* end) noexcept;

/// From `at` to the first byte that does not stand for itself in a JSON string: a quote, a backslash, a
/// control character, or not ASCII. Or to `end`; sixteen bytes at a time, and more in long ones.
[[nodiscard]] const char* skip_plain(const char* at, const char* end) noexcept;

}  // namespace ipcm::wire
