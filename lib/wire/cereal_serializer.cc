#include "wire/cereal_serializer.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "ipcm/error.h"
#include "os/clock.h"
#include "os/memory.h"
#include "os/random.h"
#include "wire/json_check.h"
#include "wire/json_text.h"

namespace ipcm::wire {
namespace {

constexpr char kCerealMagic = '\xCE';
constexpr char kVersion = 1;
constexpr std::uint8_t kLittleEndian = 1;
enum class Record : std::uint8_t { message = 1, value = 2 };
enum class ContentKind : std::uint8_t { json = 1, bytes = 2 };

template <class Number>
using Bits = std::conditional_t<sizeof(Number) == 8, std::uint64_t, std::uint8_t>;

/// Converts a number between the byte order of this machine and another one.
template <class Bits>
Bits in_order(Bits bits, std::endian order) {
  if constexpr (sizeof bits > 1)
    if (order != std::endian::native) return __builtin_bswap64(bits);
  return bits;
}

class Writer {
 public:
  /// Appends to `into`, which is borrowed.
  Writer(std::string& into, Record record) : bytes_(into) {
    const std::array<char, 4> begin{kCerealMagic, kVersion, kLittleEndian, static_cast<char>(record)};
    bytes_.append(begin.data(), begin.size());
  }
  template <class Number>
  void number(Number value) {
    const auto bits = in_order(std::bit_cast<Bits<Number>>(value), std::endian::little);
    std::array<char, sizeof bits> bytes;  // NOLINT: filled below
    std::memcpy(bytes.data(), &bits, sizeof bits);
    bytes_.append(bytes.data(), bytes.size());
  }
  void string(std::string_view text) {
    number(static_cast<std::uint64_t>(text.size()));
    bytes_.append(text);
  }
  void head(const Message& message) {
    string(message.id);
    string(message.from);
    string(message.to);
    number(message.stamp);
    number(message.stamp_ord);
    number(static_cast<std::uint8_t>(message.broadcast));
  }
  /// Writes the content, except the slices that are sent without a copy.
  void begin_content(const ContentSlices& content) {
    if (content.is_bytes) {
      number(static_cast<std::uint8_t>(ContentKind::bytes));
      string(content.before);
      return;
    }
    number(static_cast<std::uint8_t>(ContentKind::json));
    number(static_cast<std::uint64_t>(content.size()));
    bytes_.append(content.before);
  }

 private:
  std::string& bytes_;
};

/// A reader of untrusted bytes: it compares each length with the number of bytes that are left.
class Reader {
 public:
  [[noreturn]] static void refuse(const std::string& why) {
    throw ProtocolError("a message can't be read as Cereal: " + why);
  }
  explicit Reader(std::string_view bytes) : bytes_(bytes) {
    if (bytes.empty() || bytes[0] != kCerealMagic) refuse("it does not begin with the byte CE");
    if (bytes.size() < 2) refuse_end();
    if (bytes[1] != kVersion)
      refuse("version " + std::to_string(static_cast<std::uint8_t>(bytes[1])) + ", this build reads 1");
    at_ = 2;
    const auto order = number<std::uint8_t>();
    if (order > kLittleEndian) refuse("byte order " + std::to_string(order));
    little_endian_ = order == kLittleEndian;
  }
  template <class Number>
  Number number() {
    Bits<Number> bits;  // NOLINT: filled below
    if (bytes_.size() - at_ < sizeof bits) refuse_end();
    std::memcpy(&bits, bytes_.data() + at_, sizeof bits);
    at_ += sizeof bits;
    bits = in_order(bits, little_endian_ ? std::endian::little : std::endian::big);
    return std::bit_cast<Number>(bits);
  }
  std::string_view string() {
    const auto size = number<std::uint64_t>();
    if (size > bytes_.size() - at_) refuse_end();
    const auto text = bytes_.substr(at_, static_cast<std::size_t>(size));
    at_ += text.size();
    return text;
  }
  /// Reads the beginning of a message: the id and the names, which must be UTF-8.
  Message names() {
    const std::size_t begin = at_;
    const std::string_view id = string(), from = string(), to = string();
    // Usually all these bytes are ASCII, also those of the lengths: one check instead of three.
    if (!is_ascii(bytes_.substr(begin, at_ - begin))) {
      if (!is_utf8(id)) refuse("its id is not UTF-8");
      if (!is_utf8(from)) refuse("its sender is not UTF-8");
      if (!is_utf8(to)) refuse("its receiver is not UTF-8");
    }
    return {std::string(id), std::string(from), std::string(to), 0, 0, false, {}};
  }
  bool flag() {
    const auto value = number<std::uint8_t>();
    if (value > 1) refuse("a boolean of value " + std::to_string(value));
    return value == 1;
  }
  void expect(Record wanted) {
    if (number<std::uint8_t>() != static_cast<std::uint8_t>(wanted))
      refuse(wanted == Record::message ? "it is no message" : "it is no value by itself");
  }
  static Content checked(std::string_view text) {
    if (!is_ascii_json(text)) refuse("its content is not JSON in ASCII");
    return Content::trusted_json(std::string(text));
  }
  ContentKind kind() {
    const auto kind = number<std::uint8_t>();
    if (kind != static_cast<std::uint8_t>(ContentKind::json) &&
        kind != static_cast<std::uint8_t>(ContentKind::bytes))
      refuse("content of kind " + std::to_string(kind) + ", this build reads 1 (JSON) and 2 (bytes)");
    return static_cast<ContentKind>(kind);
  }
  /// Returns whether the bytes that are left begin with a complete string.
  [[nodiscard]] bool has_string() const {
    Reader ahead = *this;
    return bytes_.size() - at_ >= sizeof(std::uint64_t) &&
           ahead.number<std::uint64_t>() <= bytes_.size() - at_ - sizeof(std::uint64_t);
  }
  [[nodiscard]] std::string_view rest() const { return bytes_.substr(at_); }
  /// Reads the JSON text of the content, which is the last field. Does not check the text.
  std::string_view content_text() {
    const auto text = string();
    if (at_ != bytes_.size()) refuse(std::to_string(bytes_.size() - at_) + " bytes follow its end");
    return text;
  }

 private:
  [[noreturn]] static void refuse_end() { refuse("it ends too early"); }

  std::string_view bytes_;
  std::size_t at_ = 0;
  bool little_endian_ = true;
};

class CerealSerializer final : public Serializer {
 public:
  [[nodiscard]] const char* name() const override { return "Cereal"; }

  [[nodiscard]] EncodedMessage write_slices(const Message& message,
                                            const ContentSlices& content) const override {
    if (content.payload.size() <= kLargestCopied) {
      EncodedMessage encoded;
      encoded.head.reserve(kFixed + message.id.size() + message.from.size() + message.to.size() +
                           content.size());
      append(encoded.head, message, content);
      return encoded;
    }
    EncodedMessage encoded{{}, content.payload, std::string(content.after)};
    encoded.head.reserve(kFixed + message.id.size() + message.from.size() + message.to.size() +
                         content.before.size());
    Writer writer(encoded.head, Record::message);
    writer.head(message);
    writer.begin_content(content);
    return encoded;
  }
  void append(std::string& into, const Message& message, const ContentSlices& content) const override {
    Writer writer(into, Record::message);
    writer.head(message);
    writer.begin_content(content);
    into.append(content.payload).append(content.after);
  }

  [[nodiscard]] Message read(std::string_view bytes, std::string_view receiver) const override {
    return read_as(bytes, receiver, false).message;
  }
  [[nodiscard]] IncomingMessage decode(std::string_view bytes, std::string_view receiver) const override {
    return read_as(bytes, receiver, true);
  }

  [[nodiscard]] IncomingMessage decode_slices(std::string_view head, Body body, std::string_view tail,
                                              std::string_view receiver) const override {
    if (head.empty()) return Serializer::decode_slices(head, std::move(body), tail, receiver);
    Reader reader(head);
    IncomingMessage incoming = read_envelope_of(reader);
    if (reader.kind() == ContentKind::bytes) {
      if (!tail.empty() || !reader.has_string())
        return Serializer::decode_slices(head, std::move(body), tail, receiver);
      const std::string_view around = reader.string();
      if (!reader.rest().empty()) body.bytes.insert(0, reader.rest());
      decode_bytes(incoming, around, std::move(body.bytes));
      complete(incoming, receiver);
      return incoming;
    }
    if (reader.rest().size() < sizeof(std::uint64_t))
      return Serializer::decode_slices(head, std::move(body), tail, receiver);
    const auto size = reader.number<std::uint64_t>();
    const std::string_view before = reader.rest();
    const bool is_whole = size == before.size() + body.bytes.size() + tail.size();
    if (is_whole && before.empty() && tail.empty() && is_payload(body)) {
      incoming.message.content = Content::trusted_json(std::move(body.bytes));
    } else if (is_whole) {
      incoming.parsed = parse_own_content(before, body, tail);
    }
    if (!incoming.parsed && incoming.message.content.is_null())
      return Serializer::decode_slices(head, std::move(body), tail, receiver);
    complete(incoming, receiver);
    return incoming;
  }

  [[nodiscard]] bool is_spoken(std::string_view bytes) const override {
    return bytes.size() >= 2 && bytes[0] == kCerealMagic && bytes[1] == kVersion;
  }

  [[nodiscard]] std::string write_value(std::string_view json) const override {
    std::string bytes;
    bytes.reserve(kFixed + json.size());
    Writer(bytes, Record::value).begin_content({json, {}, {}});
    return bytes;
  }
  [[nodiscard]] std::string read_value(std::string_view bytes) const override {
    Reader reader(bytes);
    reader.expect(Record::value);
    if (reader.kind() != ContentKind::json) Reader::refuse("bytes, where a JSON value is expected");
    return Reader::checked(reader.content_text()).take_json();
  }

  [[nodiscard]] bool carries_bytes() const override { return true; }
  [[nodiscard]] bool carries_fields() const override { return false; }
  [[nodiscard]] std::string write_content(const Content& content) const override {
    if (!content.is_bytes()) return write_value(content.json());
    const auto slices = ContentSlices::of(content);
    std::string bytes;
    bytes.reserve(kFixed + content.size());
    Writer(bytes, Record::value).begin_content(slices);
    return std::move(bytes.append(slices.payload));
  }
  [[nodiscard]] Content read_content(std::string_view bytes) const override {
    Reader reader(bytes);
    reader.expect(Record::value);
    if (reader.kind() == ContentKind::json) return Reader::checked(reader.content_text());
    return read_bytes(reader);
  }

 private:
  /// The largest size of a message without its strings.
  static constexpr std::size_t kFixed = 6 * sizeof(std::uint64_t) + 6;

  static IncomingMessage read_as(std::string_view bytes, std::string_view receiver, bool listening) {
    Reader reader(bytes);
    IncomingMessage incoming = read_envelope_of(reader);
    if (reader.kind() == ContentKind::bytes) {
      if (listening) {
        const std::string_view around = reader.string();
        decode_bytes(incoming, around, os::copy_of(reader.rest()));
      } else {
        incoming.message.content = read_bytes(reader);
      }
    } else {
      const std::string_view content = reader.content_text();
      if (!listening || !parse_own_content(content, incoming.parsed))
        incoming.message.content = Reader::checked(content);
    }
    complete(incoming, receiver);
    return incoming;
  }
  /// Reads content of bytes, after its kind and up to the end.
  static Content read_bytes(Reader& reader) {
    const std::string_view around = reader.string();
    if (!around.empty()) (void)parsed_around(around);
    return Content::bytes_within(os::copy_of(reader.rest()), around);
  }
  static void decode_bytes(IncomingMessage& incoming, std::string_view around, std::string bytes) {
    if (!around.empty()) incoming.parsed = parsed_around(around);
    (incoming.parsed ? incoming.parsed->payload : incoming.message.content) =
        Content::bytes(std::move(bytes));
  }
  static ParsedContent parsed_around(std::string_view around) {
    auto parsed = parse_around_bytes(around);
    if (!parsed)
      Reader::refuse("the JSON text around its bytes is no request or response with null in their place");
    return std::move(*parsed);
  }
  /// Reads all fields of a message except the content.
  static IncomingMessage read_envelope_of(Reader& reader) {
    reader.expect(Record::message);
    IncomingMessage incoming{reader.names()};
    Message& message = incoming.message;
    message.stamp = reader.number<double>();
    message.stamp_ord = reader.number<std::uint64_t>();
    message.broadcast = reader.flag();
    return incoming;
  }
  static void complete(IncomingMessage& incoming, std::string_view receiver) {
    Message& message = incoming.message;
    if (message.from.empty() || message.from == "0") throw ProtocolError("a message without a sender");
    if (!incoming.parsed && message.content.is_null())
      throw ProtocolError("a message from '" + message.from + "' without content");
    if (message.id.empty()) message.id = os::make_uuid();
    if (message.to.empty()) message.to = receiver;
    if (!(message.stamp > 0) || !std::isfinite(message.stamp)) message.stamp = os::wall_clock_seconds();
  }
};

}  // namespace

std::shared_ptr<const Serializer> make_cereal(const BusInfo& info) {
  if (!info.serializer_options.empty())
    throw BusError("serializer 'Cereal' has no option '" + info.serializer_options.begin()->first + "'");
  static const auto shared = std::make_shared<const CerealSerializer>();
  return shared;
}

}  // namespace ipcm::wire
