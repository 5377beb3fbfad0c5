#pragma once

#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>

namespace ipcm::wire {

/// Returns the number that the whole text spells; nullopt: it is no number, or none of that type.
template <class Number>
[[nodiscard]] std::optional<Number> number_from(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// Returns the number with five digits after the point, as printf writes "%.5f" in the locale "C".
[[nodiscard]] inline std::string fixed_number(double number) {
  constexpr int kDigits = 5;
  std::array<char, 330> text;  // NOLINT: filled below; the largest double has 309 digits before the point
  const auto written =
      std::to_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed, kDigits);
  return {text.data(), written.ptr};
}

/// Classify ASCII characters, in every locale.
[[nodiscard]] constexpr bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
[[nodiscard]] constexpr char lower_case(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace ipcm::wire
