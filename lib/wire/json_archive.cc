#include "ipcm/json_archive.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "ipcm/error.h"
#include "wire/json_index.h"
#include "wire/json_scan.h"
#include "wire/json_text.h"
#include "wire/nearest.h"
#include "wire/number.h"

namespace ipcm {

using wire::describe;
using wire::JsonIndex;
using Kind = JsonIndex::Kind;

// ---- writing

struct JsonWriter::State {
  enum class Shape { open, array, object };
  struct Node {
    Shape shape = Shape::open;
    std::size_t children = 0;
    std::size_t began = 0;
  };
  std::string text;
  std::vector<Node> nodes;
  std::string name;
  bool named = false;
  bool required = true;
  std::vector<FieldDescription> fields;
  std::size_t field_value = 0;

  /// Called before a child is written: from now on it is known whether the node is an object or an array.
  void child() {
    if (nodes.empty()) return;
    Node& node = nodes.back();
    if (node.shape == Shape::open) shape(named ? Shape::object : Shape::array);
    if (node.children++ > 0) text.push_back(',');
    if (node.shape == Shape::object) {
      wire::append_json_string(text, named ? name : "value" + std::to_string(node.children - 1));
      text.push_back(':');
    }
    if (nodes.size() == 1 && named) {
      fields.push_back({name, "any", required, {}});
      field_value = text.size();
    }
    named = false;
  }
  void after_child() {
    if (nodes.size() == 1 && !fields.empty() && field_value > 0) {
      FieldDescription& field = fields.back();
      const std::string_view value = std::string_view(text).substr(field_value);
      field.type = type_of(value);
      if (!field.required) field.default_value = value;
      field_value = 0;
    }
  }
  void shape(Shape shape) {
    nodes.back().shape = shape;
    text.push_back(shape == Shape::array ? '[' : '{');
  }
  static const char* type_of(std::string_view json) {
    switch (json.empty() ? 'n' : json.front()) {
      case '"':
        return "string";
      case '{':
        return "object";
      case '[':
        return "array";
      case 't':
      case 'f':
        return "boolean";
      case 'n':
        return "any";
      default:
        return "number";
    }
  }
  void scalar(std::string_view json) {
    child();
    text.append(json);
    after_child();
  }
  void integer(std::string_view digits) {
    scalar(digits);
    if (nodes.size() == 1 && !fields.empty()) fields.back().type = "integer";
  }
};

JsonWriter::JsonWriter()
    : OutputArchive<JsonWriter, cereal::AllowEmptyClassElision>(this), state_(std::make_unique<State>()) {}
JsonWriter::~JsonWriter() = default;

std::string JsonWriter::take() { return state_->text.empty() ? "{}" : std::move(state_->text); }
const std::vector<FieldDescription>& JsonWriter::fields() const { return state_->fields; }

void JsonWriter::open() {
  if (state_->nodes.size() >= wire::kDeepestContent)
    throw ProtocolError("a value nested deeper than " + std::to_string(wire::kDeepestContent) +
                        " levels can't be sent");
  state_->child();
  state_->nodes.push_back({State::Shape::open, 0, state_->text.size()});
}

void JsonWriter::close() {
  if (state_->nodes.back().shape == State::Shape::open) state_->shape(State::Shape::object);
  state_->text.push_back(state_->nodes.back().shape == State::Shape::array ? ']' : '}');
  state_->nodes.pop_back();
  state_->after_child();
}

void JsonWriter::be_array() {
  if (state_->nodes.back().shape == State::Shape::open) state_->shape(State::Shape::array);
}
void JsonWriter::be_object() {
  if (state_->nodes.back().shape == State::Shape::open) state_->shape(State::Shape::object);
}

void JsonWriter::name_next(std::string_view name, bool required) {
  state_->name = name;
  state_->named = true;
  state_->required = required;
}

void JsonWriter::value(bool value) { state_->scalar(value ? "true" : "false"); }
void JsonWriter::value(std::int64_t value) { state_->integer(std::to_string(value)); }
void JsonWriter::value(std::uint64_t value) { state_->integer(std::to_string(value)); }
void JsonWriter::value(std::nullptr_t) { state_->scalar("null"); }

void JsonWriter::value(double value) {
  if (!std::isfinite(value)) throw ProtocolError("JSON has no infinite numbers and no NaN");
  std::array<char, 32> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  (void)error;  // 32 characters hold every double
  state_->scalar(std::string_view(digits.data(), static_cast<std::size_t>(end - digits.data())));
}

void JsonWriter::value(std::string_view utf8) {
  state_->child();
  wire::append_json_string(state_->text, utf8);
  state_->after_child();
}

void JsonWriter::raw(std::string_view json) { state_->scalar(json); }

// ---- reading

struct JsonReader::State {
  struct Place {
    std::size_t node;
    std::size_t next_child;               // in document order
    std::vector<std::string_view> asked;  // for objects: the keys that were read
    std::vector<std::string> absent;      // and those that may be there, and are not
  };
  JsonIndex index;
  std::string what;
  UnknownKeys unknown_keys;
  std::vector<Place> places;
  std::string name;
  bool named = false;

  State(std::string_view json, std::string called, UnknownKeys unknown)
      : index(json, called), what(std::move(called)), unknown_keys(unknown) {}

  /// "args of 'g': words[2].to"
  [[nodiscard]] std::string where(std::string_view member = {}) const {
    std::string path;
    for (std::size_t i = 1; i < places.size(); ++i)
      append_step(path, index.node(places[i].node), places[i - 1]);
    if (!member.empty()) {
      if (!path.empty()) path.push_back('.');
      path.append(member);
    }
    return path.empty() ? what : what + ": '" + path + "'";
  }
  void append_step(std::string& path, const JsonIndex::Node& node, const Place& parent) const {
    if (index.node(parent.node).kind == Kind::object) {
      if (!path.empty()) path.push_back('.');
      path.append(index.key(node));
    } else {
      path.push_back('[');
      std::size_t number = 0;
      for (std::size_t at = parent.node + 1; &index.node(at) != &node; at = index.node(at).next) ++number;
      path.append(std::to_string(number)).push_back(']');
    }
  }
  [[noreturn]] void refuse(const JsonIndex::Node& node, const std::string& expected) const {
    std::string place = where();
    if (!places.empty()) {
      std::string path;
      for (std::size_t i = 1; i < places.size(); ++i)
        append_step(path, index.node(places[i].node), places[i - 1]);
      append_step(path, node, places.back());
      place = what + ": '" + path + "'";
    }
    throw ProtocolError(place + ": expected " + expected + ", found " + found(node));
  }
  [[noreturn]] void refuse_next(const std::string& expected) { refuse(index.node(peek()), expected); }

  [[nodiscard]] std::optional<std::size_t> member(std::string_view key) const {
    const std::size_t object = places.back().node;
    if (index.node(object).kind != Kind::object) return std::nullopt;
    // Mostly the next member is the right one: large objects are read in their order.
    const std::size_t next = places.back().next_child;
    if (next < index.node(object).next && index.key(index.node(next)) == key) return next;
    for (std::size_t at = object + 1; at < index.node(object).next; at = index.node(at).next)
      if (index.key(index.node(at)) == key) return at;
    return std::nullopt;
  }
  void expect_here(Kind kind) const {
    if (places.empty()) return;
    const auto& node = index.node(places.back().node);
    if (node.kind != kind)
      throw ProtocolError(where() + ": expected " + describe(kind) + ", found " + found(node));
  }
  [[nodiscard]] std::string found(const JsonIndex::Node& node) const {
    std::string text(index.text(node));
    constexpr std::size_t kShown = 40;
    if (text.size() > kShown) text = text.substr(0, kShown) + "…";
    return std::string(describe(node.kind)) + " (" + text + ")";
  }

  /// Returns the node that the next read refers to.
  [[nodiscard]] std::size_t peek() const {
    if (places.empty()) return 0;
    const Place& place = places.back();
    if (named) {
      const auto found = member(name);
      if (found) return *found;
      if (index.node(place.node).kind != Kind::object)
        throw ProtocolError(where() + ": expected an object, found " + describe(index.node(place.node).kind));
      throw ProtocolError(where() + ": missing key '" + name + "'");
    }
    if (place.next_child >= index.node(place.node).next) throw ProtocolError(where() + ": too few elements");
    return place.next_child;
  }
  /// The same, and advances to the next node.
  std::size_t take() {
    const std::size_t at = peek();
    if (!places.empty()) {
      Place& place = places.back();
      if (named) place.asked.push_back(index.key(index.node(at)));
      place.next_child = index.node(at).next;
    }
    named = false;
    return at;
  }
};

JsonReader::JsonReader(std::string_view json, std::string what, UnknownKeys unknown_keys)
    : InputArchive<JsonReader, cereal::AllowEmptyClassElision>(this),
      state_(std::make_unique<State>(json, std::move(what), unknown_keys)) {}
JsonReader::~JsonReader() = default;

void JsonReader::open() {
  const Kind kind = state_->index.node(state_->peek()).kind;
  if (kind != Kind::object && kind != Kind::array) state_->refuse_next("an object or an array");
  const std::size_t at = state_->take();
  state_->places.push_back({at, at + 1, {}, {}});
}

void JsonReader::close() {
  const State::Place& place = state_->places.back();
  const auto& node = state_->index.node(place.node);
  if (state_->unknown_keys == UnknownKeys::refused && node.kind == Kind::object &&
      place.asked.size() < node.children) {
    for (std::size_t at = place.node + 1; at < node.next; at = state_->index.node(at).next) {
      const std::string_view key = state_->index.key(state_->index.node(at));
      if (std::find(place.asked.begin(), place.asked.end(), key) != place.asked.end()) continue;
      std::vector<std::string> known = place.absent;
      known.insert(known.end(), place.asked.begin(), place.asked.end());
      throw ProtocolError(state_->where() + ": unknown key '" + std::string(key) + "'" +
                          wire::did_you_mean(key, known));
    }
  }
  state_->places.pop_back();
}

void JsonReader::name_next(std::string_view name) {
  state_->name = name;
  state_->named = true;
}

bool JsonReader::has(std::string_view name) {
  expect_object();
  if (state_->member(name)) return true;
  if (state_->unknown_keys == UnknownKeys::refused) state_->places.back().absent.emplace_back(name);
  return false;
}

void JsonReader::expect_array() const { state_->expect_here(Kind::array); }
void JsonReader::expect_object() const { state_->expect_here(Kind::object); }
bool JsonReader::next_is_null() { return state_->index.node(state_->peek()).kind == Kind::null; }
void JsonReader::skip() { (void)state_->take(); }
std::size_t JsonReader::size() const {
  return state_->places.empty() ? 0 : state_->index.node(state_->places.back().node).children;
}
std::string JsonReader::next_key() const {
  const bool named = std::exchange(state_->named, false);
  std::string key(state_->index.key(state_->index.node(state_->peek())));
  state_->named = named;
  return key;
}

namespace {

/// Returns the digits of a number, or of a string with a number in it: Perl sends either.
std::optional<std::string_view> digits_of(const JsonIndex& index, const JsonIndex::Node& node) {
  if (node.kind == Kind::number) return index.text(node);
  if (node.kind == Kind::string && node.value_size > 0) return index.string(node);
  return std::nullopt;
}

/// Accepts also "7.0" and "1e3", which are whole numbers.
template <class Integer>
std::optional<Integer> parse_integer(std::string_view digits) {
  if (const auto whole = wire::number_from<Integer>(digits)) return whole;
  const auto wide = wire::number_from<double>(digits);
  constexpr double kExact = 9007199254740992.0;  // 2^53: beyond it a double does not name one integer
  if (!wide || *wide != std::floor(*wide) || std::fabs(*wide) > kExact) return std::nullopt;
  if constexpr (std::is_unsigned_v<Integer>)
    if (*wide < 0) return std::nullopt;
  return static_cast<Integer>(*wide);
}

}  // namespace

void JsonReader::value(bool& value) {
  const auto& node = state_->index.node(state_->peek());
  const std::string_view text =
      node.kind == Kind::string ? state_->index.string(node) : state_->index.text(node);
  if (text == "true" || text == "1")
    value = true;
  else if (text == "false" || text == "0" || text.empty() || node.kind == Kind::null)
    value = false;
  else
    state_->refuse(node, "a boolean");
  (void)state_->take();
}

void JsonReader::value(std::int64_t& value, std::int64_t least, std::int64_t most) {
  const auto& node = state_->index.node(state_->peek());
  const auto digits = digits_of(state_->index, node);
  const auto number = digits ? parse_integer<std::int64_t>(*digits) : std::nullopt;
  if (!number || *number < least || *number > most)
    state_->refuse(node, "an integer from " + std::to_string(least) + " to " + std::to_string(most));
  value = *number;
  (void)state_->take();
}

void JsonReader::value(std::uint64_t& value, std::uint64_t most) {
  const auto& node = state_->index.node(state_->peek());
  const auto digits = digits_of(state_->index, node);
  const auto number = digits ? parse_integer<std::uint64_t>(*digits) : std::nullopt;
  if (!number || *number > most) state_->refuse(node, "an integer from 0 to " + std::to_string(most));
  value = *number;
  (void)state_->take();
}

void JsonReader::value(double& value, double most) {
  const auto& node = state_->index.node(state_->peek());
  const auto digits = digits_of(state_->index, node);
  const auto number = digits ? wire::number_from<double>(*digits) : std::nullopt;
  if (!number || !(std::fabs(*number) <= most)) state_->refuse(node, "a number");
  value = *number;
  (void)state_->take();
}

void JsonReader::value(std::string& value) {
  const auto& node = state_->index.node(state_->peek());
  if (node.kind == Kind::string)
    value = state_->index.string(node);
  else if (node.kind == Kind::number)
    value = state_->index.text(node);
  else
    state_->refuse(node, "a string");
  (void)state_->take();
}

void JsonReader::raw(std::string& json) {
  const std::string_view text = state_->index.text(state_->index.node(state_->take()));
  json = wire::is_ascii(text) ? std::string(text) : wire::to_ascii(text);
}

}  // namespace ipcm
