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

/// The types that convert to Content implicitly: all that cereal can write, except time spans, which are
/// separate arguments of many functions.
template <class T>
concept Payload = !std::same_as<std::remove_cvref_t<T>, Content> && !is_duration<std::remove_cvref_t<T>> &&
                  !std::convertible_to<T, std::string_view> && Serializable<T>;
/// The types that cereal can't write. A constructor of Content accepts them, so that the compiler prints one
/// sentence instead of a list of all overloads. Callbacks, and types with a conversion to Content, are
/// excluded.
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

/// The content of a request, an answer or a message: one JSON value as text, or bytes.
///
/// It is made from any C++ value that cereal can serialise (a std::string becomes a JSON string), from JSON
/// text with Content::json(), or from bytes with Content::bytes(). Copying and sending do not parse it;
/// as<T>() parses it at each call. A value type: copies are independent.
///
/// Bytes can be sent only on a bus with the serializer Cereal, and not by the protocol JSONFile, which stores
/// JSON. On other buses, sending bytes throws UsageError. Bytes can't be arguments of a service or part of a
/// larger structure.
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

  /// Makes a content from JSON text, and checks the text. Throws ProtocolError with the position and the
  /// mistake. Escapes non-ASCII characters, since some peers do not decode UTF-8, and removes white space
  /// around the value; does not change the rest.
  [[nodiscard]] static Content json(std::string_view text);
  /// Makes a content from JSON text that the caller knows to be valid and pure ASCII. Does not check it.
  [[nodiscard]] static Content trusted_json(std::string text);
  /// Makes a content from any bytes, also from none. The receiver gets them unchanged.
  [[nodiscard]] static Content bytes(std::string bytes);

  [[nodiscard]] bool is_bytes() const noexcept { return is_bytes_; }
  /// Returns the bytes, borrowed from this object. Throws UsageError if the content is JSON; see is_bytes().
  [[nodiscard]] std::string_view as_bytes() const {
    expect_bytes();
    return std::string_view(text_).substr(0, bytes_size());
  }
  /// Moves the bytes out, and leaves null. Throws as as_bytes() does.
  [[nodiscard]] std::string take_bytes() &&;

  /// Returns the value as JSON text, pure ASCII. Throws UsageError if the content is bytes; see is_bytes().
  [[nodiscard]] const std::string& json() const {
    expect_json();
    return text_;
  }
  /// Moves the JSON text out, and leaves null. Throws as json() does.
  [[nodiscard]] std::string take_json() && {
    expect_json();
    return std::exchange(text_, "null");
  }
  /// Returns the value as JSON text on one line, with characters instead of escapes: for people and
  /// terminals. Throws UsageError if the content is bytes.
  [[nodiscard]] std::string readable() const;
  [[nodiscard]] bool is_null() const noexcept { return !is_bytes_ && text_ == "null"; }
  /// Returns the size in bytes of the JSON text, or of the bytes together with the JSON text around them.
  [[nodiscard]] std::size_t size() const noexcept { return text_.size(); }

  /// Makes a content from the bytes of a request or a response, and the JSON text around them, which has null
  /// in their place (docs/bus.md). For code that forwards messages. Does not check the text.
  [[nodiscard]] static Content bytes_within(std::string bytes, std::string_view around);
  /// Returns the JSON text around the bytes, borrowed from this object. Empty: there is none.
  [[nodiscard]] std::string_view around_bytes() const noexcept {
    return is_bytes_ ? std::string_view(text_).substr(bytes_size()) : std::string_view();
  }

  /// Converts the value to a T, and ignores unknown keys. Throws ProtocolError that names the place where the
  /// value does not fit; also for bytes. `what` names the content in that error.
  template <class T>
  [[nodiscard]] T as(std::string what = "content") const {
    return read<T>(std::move(what), JsonReader::UnknownKeys::ignored);
  }
  /// As as(), but throws also for unknown keys: for parameters, where an unknown key is a spelling mistake.
  template <class T>
  [[nodiscard]] T as_strict(std::string what = "content") const {
    return read<T>(std::move(what), JsonReader::UnknownKeys::refused);
  }

  /// Compares the texts, or the bytes, byte by byte. Different spellings of one value are not equal, and
  /// bytes never equal JSON text.
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
  /// Returns 0 for a content that was moved from: its text is empty.
  [[nodiscard]] std::size_t bytes_size() const noexcept {
    return text_.size() - std::min(around_, text_.size());
  }

  std::string text_;        // JSON text; or the bytes, followed by the JSON text around them
  std::size_t around_ = 0;  // size of the JSON text around the bytes
  bool is_bytes_ = false;
};

/// Write and read the value of a Content as part of a larger structure. They are templates, so that types
/// with a conversion to Content do not match.
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

/// Returns the fields that an argument structure declares, with the values of a default-constructed one.
template <class T>
[[nodiscard]] std::vector<FieldDescription> describe_fields() {
  JsonWriter writer;
  writer(T{});
  return writer.fields();
}

}  // namespace ipcm
