#pragma once

// Cereal archives that convert between C++ values and JSON text.
//
// The JSON archive of cereal wraps every value into {"value0": …}, writes raw UTF-8 and accepts unknown keys.
// The bus needs the bare value, pure ASCII (Perl peers do not decode UTF-8) and checked keys. So these
// archives accept types as cereal describes them (serialize, CEREAL_NVP, everything in cereal/types), and
// write this JSON:
//   a struct                           an object, a key for each name-value pair
//   std::map<std::string, T>           an object
//   std::vector, std::list, …          an array
//   std::optional<T>                   the value, or null
//   numbers, bool, std::string         the same in JSON; a std::string must be valid UTF-8
// The types of Perl are loose. So the reader accepts "7" for a number, 7 for a string, and 1, 0, "" and null
// for a bool.

#include <cereal/cereal.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/vector.hpp>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>

namespace ipcm {

/// A field that may be absent: `archive(ipcm::optional("word", word))` leaves `word` as it is when the key is
/// missing.
template <class T>
struct OptionalField {
  const char* name;
  T& value;
};

template <class T>
[[nodiscard]] OptionalField<T> optional(const char* name, T& value) {
  return {name, value};
}

/// The description of one field of an argument structure, for help texts.
struct FieldDescription {
  std::string name;
  std::string type;  ///< "string", "integer", "number", "boolean", "array", "object" or "any"
  bool required = true;
  std::string default_value;  ///< JSON text; empty for a required field
};

/// The archive that writes JSON. Throws ProtocolError for values that JSON does not have (NaN, broken UTF-8).
class JsonWriter : public cereal::OutputArchive<JsonWriter, cereal::AllowEmptyClassElision>,
                   public cereal::traits::TextArchive {
 public:
  JsonWriter();
  ~JsonWriter();
  JsonWriter(const JsonWriter&) = delete;
  JsonWriter& operator=(const JsonWriter&) = delete;

  [[nodiscard]] std::string take();  ///< Moves the text out; for one call, at the end.
  /// Returns the fields of the outermost object, in the order in which they were written.
  [[nodiscard]] const std::vector<FieldDescription>& fields() const;

  // For cereal and the functions below.
  void open();   ///< Begins an object or an array. Its first child decides which of them.
  void close();  ///< Ends it.
  void be_array();
  void be_object();
  void name_next(std::string_view name, bool required = true);
  void value(bool);
  void value(std::int64_t);
  void value(std::uint64_t);
  void value(double);
  void value(std::nullptr_t);
  void value(std::string_view utf8);
  void raw(std::string_view json);  ///< Writes JSON text that was checked before.

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The archive that reads JSON. Throws ProtocolError that names the place ("args.word: expected a string,
/// found 7").
class JsonReader : public cereal::InputArchive<JsonReader, cereal::AllowEmptyClassElision>,
                   public cereal::traits::TextArchive {
 public:
  enum class UnknownKeys { ignored, refused };

  /// `what` names the document in errors ("parameters", "args of service 'g'"). `json` must outlive the
  /// reader.
  JsonReader(std::string_view json, std::string what, UnknownKeys unknown_keys);
  ~JsonReader();
  JsonReader(const JsonReader&) = delete;
  JsonReader& operator=(const JsonReader&) = delete;

  // For cereal and the functions below.
  void open();   ///< Enters the next value, which must be an object or an array.
  void close();  ///< Leaves it. With UnknownKeys::refused, throws if it has keys that were not read.
  void name_next(std::string_view name);
  [[nodiscard]] bool has(std::string_view name);  ///< Whether the current object has that key.
  [[nodiscard]] bool next_is_null();
  void skip();                             ///< Passes over the next value.
  [[nodiscard]] std::size_t size() const;  ///< Returns the number of members of the current object or array.
  void expect_array() const;               ///< Throws unless the current value is an array.
  void expect_object() const;
  [[nodiscard]] std::string next_key() const;  ///< Returns the key of the next member in document order.
  void value(bool&);
  void value(std::int64_t&, std::int64_t least, std::int64_t most);
  void value(std::uint64_t&, std::uint64_t most);
  void value(double&, double most);  ///< `most`: the largest absolute value.
  void value(std::string&);
  void raw(std::string& json);  ///< Reads the text of the next value.

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The functions that cereal calls; argument-dependent lookup finds them. A struct opens and closes a node;
// numbers and strings do not.

namespace detail {
template <class T>
inline constexpr bool is_plain = std::is_arithmetic_v<T> || std::is_same_v<T, std::nullptr_t>;
template <class T>
inline constexpr bool is_transparent = false;  // writes its own node, or none
template <class T>
inline constexpr bool is_transparent<cereal::NameValuePair<T>> = true;
template <class T>
inline constexpr bool is_transparent<cereal::SizeTag<T>> = true;
template <class T>
inline constexpr bool is_transparent<cereal::DeferredData<T>> = true;
template <class T>
inline constexpr bool is_transparent<OptionalField<T>> = true;
template <class T>
inline constexpr bool is_transparent<std::optional<T>> = true;
template <class C, class T, class A>
inline constexpr bool is_transparent<std::basic_string<C, T, A>> = true;
template <class T>
inline constexpr bool opens_node = !is_plain<T> && !is_transparent<T> && !std::is_enum_v<T>;
}  // namespace detail

template <class T>
void prologue(JsonWriter& archive, const T&) {
  if constexpr (detail::opens_node<T>) archive.open();
}
template <class T>
void epilogue(JsonWriter& archive, const T&) {
  if constexpr (detail::opens_node<T>) archive.close();
}
template <class T>
void prologue(JsonReader& archive, const T&) {
  if constexpr (detail::opens_node<T>) archive.open();
}
template <class T>
void epilogue(JsonReader& archive, const T&) {
  if constexpr (detail::opens_node<T>) archive.close();
}

template <class T>
void CEREAL_SAVE_FUNCTION_NAME(JsonWriter& archive, const cereal::NameValuePair<T>& pair) {
  archive.name_next(pair.name);
  archive(pair.value);
}
template <class T>
void CEREAL_LOAD_FUNCTION_NAME(JsonReader& archive, cereal::NameValuePair<T>& pair) {
  archive.name_next(pair.name);
  archive(pair.value);
}

template <class T>
void CEREAL_SAVE_FUNCTION_NAME(JsonWriter& archive, const OptionalField<T>& field) {
  archive.name_next(field.name, false);
  archive(field.value);
}
template <class T>
void CEREAL_LOAD_FUNCTION_NAME(JsonReader& archive, OptionalField<T>& field) {
  if (!archive.has(field.name)) return;
  archive.name_next(field.name);
  archive(field.value);
}

template <class T>
void CEREAL_SAVE_FUNCTION_NAME(JsonWriter& archive, const cereal::SizeTag<T>&) {
  archive.be_array();
}
template <class T>
void CEREAL_LOAD_FUNCTION_NAME(JsonReader& archive, cereal::SizeTag<T>& tag) {
  archive.expect_array();
  tag.size = static_cast<std::decay_t<T>>(archive.size());
}

template <class T>
requires(detail::is_plain<T>) void CEREAL_SAVE_FUNCTION_NAME(JsonWriter& archive, const T& number) {
  if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::nullptr_t>)
    archive.value(number);
  else if constexpr (std::is_floating_point_v<T>)
    archive.value(static_cast<double>(number));
  else if constexpr (std::is_signed_v<T>)
    archive.value(static_cast<std::int64_t>(number));
  else
    archive.value(static_cast<std::uint64_t>(number));
}
template <class T>
requires(detail::is_plain<T>) void CEREAL_LOAD_FUNCTION_NAME(JsonReader& archive, T& number) {
  if constexpr (std::is_same_v<T, bool>) {
    archive.value(number);
  } else if constexpr (std::is_same_v<T, std::nullptr_t>) {
    archive.skip();
  } else if constexpr (std::is_floating_point_v<T>) {
    double wide = 0;
    archive.value(wide, static_cast<double>(std::numeric_limits<T>::max()));
    number = static_cast<T>(wide);
  } else if constexpr (std::is_signed_v<T>) {
    std::int64_t wide = 0;
    archive.value(wide, std::numeric_limits<T>::min(), std::numeric_limits<T>::max());
    number = static_cast<T>(wide);
  } else {
    std::uint64_t wide = 0;
    archive.value(wide, std::numeric_limits<T>::max());
    number = static_cast<T>(wide);
  }
}

template <class T, class A>
void CEREAL_SAVE_FUNCTION_NAME(JsonWriter& archive, const std::basic_string<char, T, A>& text) {
  archive.value(std::string_view(text));
}
template <class T, class A>
void CEREAL_LOAD_FUNCTION_NAME(JsonReader& archive, std::basic_string<char, T, A>& text) {
  archive.value(text);
}

}  // namespace ipcm

namespace cereal {  // more specialised than the functions of cereal, so the compiler selects these

template <class T>
void CEREAL_SAVE_FUNCTION_NAME(ipcm::JsonWriter& archive, const std::optional<T>& maybe) {
  if (maybe)
    archive(*maybe);
  else
    archive.value(nullptr);
}
template <class T>
void CEREAL_LOAD_FUNCTION_NAME(ipcm::JsonReader& archive, std::optional<T>& maybe) {
  if (archive.next_is_null()) {
    archive.skip();
    maybe.reset();
  } else {
    archive(maybe.emplace());
  }
}

namespace ipcm_detail {
template <class Map>
void save_object(ipcm::JsonWriter& archive, const Map& map) {
  archive.be_object();
  for (const auto& [key, value] : map) {
    archive.name_next(key);
    archive(value);
  }
}
template <class Map>
void load_object(ipcm::JsonReader& archive, Map& map) {
  map.clear();
  archive.expect_object();
  for (std::size_t left = archive.size(); left > 0; --left) {
    const std::string key = archive.next_key();
    archive.name_next(key);
    archive(map[key]);
  }
}
}  // namespace ipcm_detail

template <class T, class C, class A>
void CEREAL_SAVE_FUNCTION_NAME(ipcm::JsonWriter& archive, const std::map<std::string, T, C, A>& map) {
  ipcm_detail::save_object(archive, map);
}
template <class T, class C, class A>
void CEREAL_LOAD_FUNCTION_NAME(ipcm::JsonReader& archive, std::map<std::string, T, C, A>& map) {
  ipcm_detail::load_object(archive, map);
}
template <class T, class H, class E, class A>
void CEREAL_SAVE_FUNCTION_NAME(ipcm::JsonWriter& archive,
                               const std::unordered_map<std::string, T, H, E, A>& map) {
  ipcm_detail::save_object(archive, map);
}
template <class T, class H, class E, class A>
void CEREAL_LOAD_FUNCTION_NAME(ipcm::JsonReader& archive, std::unordered_map<std::string, T, H, E, A>& map) {
  ipcm_detail::load_object(archive, map);
}

}  // namespace cereal

CEREAL_REGISTER_ARCHIVE(ipcm::JsonWriter)
CEREAL_REGISTER_ARCHIVE(ipcm::JsonReader)
CEREAL_SETUP_ARCHIVE_TRAITS(ipcm::JsonReader, ipcm::JsonWriter)
