#pragma once

#include <chrono>
#include <concepts>
#include <string>
#include <string_view>
#include <utility>

#include "ipcm/json_archive.h"

namespace ipcm {

class Content;

namespace detail {
template <class T>
inline constexpr bool is_duration = false;
template <class R, class P>
inline constexpr bool is_duration<std::chrono::duration<R, P>> = true;

/// What Content takes implicitly: all that cereal can write, but for time spans, which are arguments of their
/// own.
template <class T>
concept Payload = !std::same_as<std::remove_cvref_t<T>, Content> && !is_duration<std::remove_cvref_t<T>> &&
                  !std::convertible_to<T, std::string_view> &&
                  cereal::traits::is_output_serializable<std::remove_cvref_t<T>, JsonWriter>::value;
}  // namespace detail

/// One JSON value, kept as text: what requests, answers, messages and service arguments are made of.
///
/// Made from any C++ value that cereal can serialise (a std::string becomes a JSON string), or from JSON text
/// with Content::json(). Whoever passes it on never looks inside; as<T>() does, once, when somebody asks. A
/// value type: copies are independent, and there is nothing to release.
class Content {
 public:
  Content() : text_("null") {}
  Content(std::nullptr_t) : Content() {}
  Content(std::string_view utf8);
  Content(const std::string& utf8) : Content(std::string_view(utf8)) {}
  Content(const char* utf8) : Content(std::string_view(utf8)) {}
  template <detail::Payload T>
  Content(const T& value) : text_(written(value)) {}

  /// From JSON text, which is checked: throws ProtocolError with the place and what is wrong there.
  /// Non-ASCII characters are escaped, for the sake of peers that do not decode UTF-8; all else is kept as
  /// written.
  [[nodiscard]] static Content json(std::string_view text);
  /// From JSON text that is known to be valid and pure ASCII; nothing is looked at.
  [[nodiscard]] static Content trusted_json(std::string text);

  /// The value as JSON text, pure ASCII.
  [[nodiscard]] const std::string& json() const noexcept { return text_; }
  /// The same, moved out; what is left is null.
  [[nodiscard]] std::string take_json() && { return std::exchange(text_, "null"); }
  /// The value as JSON text on one line, with characters instead of escapes: for people and terminals.
  [[nodiscard]] std::string readable() const;
  [[nodiscard]] bool is_null() const noexcept { return text_ == "null"; }

  /// The value as a T. Throws ProtocolError that names the place where it does not fit. Unknown keys are
  /// ignored.
  template <class T>
  [[nodiscard]] T as(std::string what = "content") const {
    return read<T>(std::move(what), JsonReader::UnknownKeys::ignored);
  }
  /// The same, and unknown keys are refused: for parameters, where a misspelt key must not pass unseen.
  template <class T>
  [[nodiscard]] T as_strict(std::string what = "content") const {
    return read<T>(std::move(what), JsonReader::UnknownKeys::refused);
  }

  /// The same text, to the byte. Different spellings of one value are different.
  friend bool operator==(const Content&, const Content&) = default;

 private:
  template <class T>
  static std::string written(const T& value) {
    JsonWriter writer;
    writer(value);
    return writer.take();
  }
  template <class T>
  T read(std::string what, JsonReader::UnknownKeys unknown_keys) const {
    T value{};
    JsonReader reader(text_, std::move(what), unknown_keys);
    reader(value);
    return value;
  }

  std::string text_;
};

/// Content inside a larger structure is that value itself. (Templates, so that what converts to Content does
/// not match.)
template <std::same_as<Content> T>
void CEREAL_SAVE_FUNCTION_NAME(JsonWriter& archive, const T& content) {
  archive.raw(content.json());
}
template <std::same_as<Content> T>
void CEREAL_LOAD_FUNCTION_NAME(JsonReader& archive, T& content) {
  std::string text;
  archive.raw(text);
  content = Content::trusted_json(std::move(text));
}
namespace detail {
template <>
inline constexpr bool is_transparent<Content> = true;
}

template <>
[[nodiscard]] inline Content Content::as<Content>(std::string) const {
  return *this;
}

/// The fields that an argument structure declares, from a default-constructed one.
template <class T>
[[nodiscard]] std::vector<FieldDescription> describe_fields() {
  JsonWriter writer;
  writer(T{});
  return writer.fields();
}

}  // namespace ipcm
