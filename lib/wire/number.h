#pragma once

#include <charconv>
#include <optional>
#include <string_view>

namespace ipcm::wire {

/// The number that a text is, all of it; nullopt: it is none, or none of that type.
template <class Number>
[[nodiscard]] std::optional<Number> number_from(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace ipcm::wire
