#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "ipcm/json_archive.h"

namespace ipcm {

class Content;
class Response;

namespace detail {
template <class T>
inline constexpr bool is_duration = false;
template <class R, class P>
inline constexpr bool is_duration<std::chrono::duration<R, P>> = true;

template <class T>
concept Serializable = cereal::traits::is_output_serializable<std::remove_cvref_t<T>, JsonWriter>::value;
template <class T>
concept Deserializable = cereal::traits::is_input_serializable<std::remove_cvref_t<T>, JsonReader>::value;

/// What Content takes implicitly: all that cereal can write, but for time spans, which are arguments of their
/// own.
template <class T>
concept Payload = !std::same_as<std::remove_cvref_t<T>, Content> && !is_duration<std::remove_cvref_t<T>> &&
                  !std::convertible_to<T, std::string_view> && Serializable<T>;
/// Values that stand where content is expected, and that cereal can't write. They match as well, so that the
/// compiler says one sentence instead of a list of all overloads. Callbacks and what converts itself to
/// Content are left out.
template <class T>
concept NoPayload =
    (std::is_class_v<std::remove_cvref_t<T>> ||
     std::is_union_v<std::remove_cvref_t<T>>)&&!std::same_as<std::remove_cvref_t<T>, Content> &&
    !is_duration<std::remove_cvref_t<T>> && !std::convertible_to<T, std::string_view> && !Serializable<T> &&
    !std::is_invocable_v<T, const Response&> && !requires(const std::remove_cvref_t<T>& value) {
  value.operator Content();
};
template <class T>
inline constexpr bool is_never = false;
}  // namespace detail

/// One JSON value, kept as text, or bytes as they are: what requests, answers and messages are made of.
///
/// Made from any C++ value that cereal can serialise (a std::string becomes a JSON string), from JSON text
/// with Content::json(), or with Content::bytes(). Whoever passes it on never looks inside; as<T>() does,
/// once, when somebody asks. A value type: copies are independent, and there is nothing to release.
///
/// Bytes need a bus with the serializer Cereal (and not JSONFile, which holds JSON): elsewhere who sends them
/// is refused with a UsageError. They are no arguments of services, and stand in no larger structure.
class Content {
 public:
  Content() : text_("null") {}
  Content(std::nullptr_t) : Content() {}
  Content(std::string_view utf8);
  Content(const std::string& utf8) : Content(std::string_view(utf8)) {}
  Content(const char* utf8) : Content(std::string_view(utf8)) {}
  template <detail::Payload T>
  Content(const T& value) : text_(written(value)) {}
  template <detail::NoPayload T>
  Content(const T&) {
    static_assert(detail::is_never<T>,
                  "ipcm: this type can't be sent: cereal can't serialise it. Give it a serialize() function, "
                  "or include the "
                  "cereal/types/... header of the standard type");
  }

  /// From JSON text, which is checked: throws ProtocolError with the place and what is wrong there.
  /// Non-ASCII characters are escaped, for the sake of peers that do not decode UTF-8; all else is kept as
  /// written.
  [[nodiscard]] static Content json(std::string_view text);
  /// From JSON text that is known to be valid and pure ASCII; nothing is looked at.
  [[nodiscard]] static Content trusted_json(std::string text);
  /// Any bytes, none included. They are not looked at, and arrive as they are.
  [[nodiscard]] static Content bytes(std::string bytes);

  [[nodiscard]] bool is_bytes() const noexcept { return is_bytes_; }
  /// The bytes, borrowed from this. Throws UsageError if it is JSON: is_bytes() tells.
  [[nodiscard]] std::string_view as_bytes() const {
    expect_bytes();
    return std::string_view(text_).substr(0, bytes_size());
  }
  /// The same, moved out; what is left is null.
  [[nodiscard]] std::string take_bytes() &&;

  /// The value as JSON text, pure ASCII. Throws UsageError if it is bytes: is_bytes() tells.
  [[nodiscard]] const std::string& json() const {
    expect_json();
    return text_;
  }
  /// The same, moved out; what is left is null.
  [[nodiscard]] std::string take_json() && {
    expect_json();
    return std::exchange(text_, "null");
  }
  /// The value as JSON text on one line, with characters instead of escapes: for people and terminals.
  /// Throws UsageError if it is bytes.
  [[nodiscard]] std::string readable() const;
  [[nodiscard]] bool is_null() const noexcept { return !is_bytes_ && text_ == "null"; }
  /// Of the JSON text, or of the bytes (and of what is around them).
  [[nodiscard]] std::size_t size() const noexcept { return text_.size(); }

  /// For who passes messages on: bytes that travel as a request or a response, and the JSON text around them,
  /// which has null in their place (docs/bus.md). It is trusted.
  [[nodiscard]] static Content bytes_within(std::string bytes, std::string_view around);
  /// Empty: there is nothing around it. Borrowed.
  [[nodiscard]] std::string_view around_bytes() const noexcept {
    return is_bytes_ ? std::string_view(text_).substr(bytes_size()) : std::string_view();
  }

  /// The value as a T. Throws ProtocolError that names the place where it does not fit, also for bytes.
  /// Unknown keys are ignored.
  template <class T>
  [[nodiscard]] T as(std::string what = "content") const {
    return read<T>(std::move(what), JsonReader::UnknownKeys::ignored);
  }
  /// The same, and unknown keys are refused: for parameters, where a misspelt key must not pass unseen.
  template <class T>
  [[nodiscard]] T as_strict(std::string what = "content") const {
    return read<T>(std::move(what), JsonReader::UnknownKeys::refused);
  }

  /// The same text, or the same bytes, to the byte. Different spellings of one value are different, and bytes
  /// are no text.
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
    if (is_bytes_) refuse_bytes(what);
    static_assert(std::default_initializable<T> && detail::Deserializable<T>,
                  "ipcm: this type can't be read from content: it needs a default constructor, and a "
                  "serialize() function "
                  "for cereal or the cereal/types/... header of the standard type");
    if constexpr (std::default_initializable<T> && detail::Deserializable<T>) {
      T value{};
      JsonReader reader(text_, std::move(what), unknown_keys);
      reader(value);
      return value;
    }
  }

  void expect_bytes() const {
    if (!is_bytes_) throw_no_bytes();
  }
  void expect_json() const {
    if (is_bytes_) throw_no_json();
  }
  [[noreturn]] void throw_no_bytes() const;
  [[noreturn]] void throw_no_json() const;
  [[noreturn]] void refuse_bytes(const std::string& what) const;
  /// Also of one that was moved away.
  [[nodiscard]] std::size_t bytes_size() const noexcept {
    return text_.size() - std::min(around_, text_.size());
  }

  std::string text_;        // JSON; or the bytes, and behind them what is around them
  std::size_t around_ = 0;  // so much at the end
  bool is_bytes_ = false;
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
