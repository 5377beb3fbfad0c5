#include "wire/envelope.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "ipcm/error.h"
#include "os/clock.h"
#include "os/memory.h"
#include "os/random.h"
#include "wire/appender.h"
#include "wire/fields.h"
#include "wire/json_check.h"
#include "wire/json_text.h"
#include "wire/number.h"
#include "wire/own_text.h"
#include "wire/top_level.h"

namespace ipcm::wire {
namespace {

enum class Seen : unsigned { id = 1, from = 2, to = 4, broadcast = 8, stamp = 16, ord = 32, content = 64 };

template <class Number>
Number number_or(std::string_view digits, Number otherwise) {
  const auto number = number_from<Number>(digits);
  return number && std::isfinite(static_cast<double>(*number)) ? *number : otherwise;
}

/// The unit of stamps: a hundred thousandths of a second.
constexpr std::uint64_t kTicks = 100'000;
constexpr std::size_t kTickDigits = 5;

/// Appends a number as printf does with "%.5f", in every locale.
void put_stamp(Appender& text, double stamp) {
  // The stamps of this library are whole numbers of ticks.
  constexpr double kLargest = 9e10;
  const std::uint64_t ticks =
      stamp >= 1 && stamp < kLargest ? static_cast<std::uint64_t>(std::llround(stamp * double{kTicks})) : 0;
  if (ticks > 0 && static_cast<double>(ticks) / double{kTicks} == stamp) {
    text.number(ticks / kTicks);
    const std::uint64_t fraction = ticks % kTicks;
    std::array<char, 1 + kTickDigits> digits{'.'};
    for (std::uint64_t at = kTickDigits, left = fraction; at > 0; --at, left /= 10)
      digits[at] = static_cast<char>('0' + left % 10);
    text.text({digits.data(), digits.size()});
    return;
  }
  std::array<char, 330> digits;  // NOLINT: filled below; the largest double has 309 before the point
  const auto [end, error] =
      std::to_chars(digits.data(), digits.data() + digits.size(), stamp, std::chars_format::fixed, 5);
  (void)error;  // it fits
  text.text({digits.data(), static_cast<std::size_t>(end - digits.data())});
}

}  // namespace

std::string write_envelope(const Message& message) {
  return write_envelope(message, ContentSlices::of(message.content)).take();
}

void refuse_bytes() {
  throw UsageError(
      "bytes can't be sent on this bus, whose messages are JSON text; make the bus with the serializer "
      "Cereal (and not with the protocol JSONFile), or put the bytes into a string, for example as base64");
}

namespace {

/// The approximate size of a message without its names and its content.
constexpr std::size_t kAround = 128;

std::size_t head_size(const Message& message) {
  return kAround + message.id.size() + message.from.size() + message.to.size() + size_of(message.fields);
}

/// Appends the message up to its content.
void put_head(Appender& text, const Message& message) {
  text.text(R"({"id":)");
  text.json_string(message.id);  // escaped: the id of another program may hold any characters
  text.text(R"(,"from":)");
  text.json_string(message.from);
  text.text(R"(,"to":)");
  text.json_string(message.to);
  text.text(R"(,"stamp":)");
  put_stamp(text, message.stamp);
  text.text(R"(,"stamp_ord":)");
  text.number(message.stamp_ord);
  if (message.broadcast) text.text(R"(,"broadcast":1)");
  for (const auto& [name, value] : message.fields) {
    text.text(",");
    text.json_string(name);
    text.text(":");
    text.text(value.json());
  }
  text.text(R"(,"content":)");
}

}  // namespace

void append_envelope(std::string& into, const Message& message, const ContentSlices& content) {
  if (content.is_bytes) refuse_bytes();
  Appender text(into, head_size(message) + content.size());
  put_head(text, message);
  text.text(content.before);
  text.text(content.payload);
  text.text(content.after);
  text.text("}");
}

EncodedMessage write_envelope(const Message& message, const ContentSlices& content) {
  EncodedMessage encoded;
  if (content.payload.size() <= kLargestCopied) {
    append_envelope(encoded.head, message, content);
    return encoded;
  }
  if (content.is_bytes) refuse_bytes();
  {
    Appender head(encoded.head, head_size(message) + content.before.size());
    put_head(head, message);
    head.text(content.before);
  }
  encoded.body = content.payload;
  encoded.tail.append(content.after).push_back('}');
  return encoded;
}

namespace {

/// Cuts a stamp in the form in which this library writes it.
bool take_stamp(std::string_view& text, double& stamp) {
  constexpr std::size_t kExact = 15;  // digits of a number that is exact in a double
  std::uint64_t seconds = 0, fraction = 0;
  const std::size_t digits = take_digits(text, seconds);
  if (seconds == 0 || digits + kTickDigits > kExact || !take(text, ".")) return false;
  if (text.size() < kTickDigits) return false;
  for (const char c : text.substr(0, kTickDigits)) {
    const auto digit = static_cast<unsigned char>(c - '0');
    if (digit > 9) return false;
    fraction = fraction * 10 + digit;
  }
  text.remove_prefix(kTickDigits);
  // Both operands are exact, so the quotient is the double that is nearest to the digits.
  stamp = static_cast<double>(seconds * kTicks + fraction) / double{kTicks};
  return true;
}

/// Reads a message whose members have the order of write_envelope(), with none missing, as most do. Returns
/// false for other messages; then read_any_envelope() reads it, with the same result for such messages.
bool read_own_envelope(std::string_view text, Message& message, std::optional<ParsedContent>* parsed) {
  std::string_view id, from, to;
  if (!take(text, R"({"id":")") || !take_plain(text, id) || !take(text, R"(,"from":")") ||
      !take_plain(text, from) || !take(text, R"(,"to":")") || !take_plain(text, to) ||
      !take(text, R"(,"stamp":)") || !take_stamp(text, message.stamp) || !take(text, R"(,"stamp_ord":)") ||
      take_digits(text, message.stamp_ord) == 0)
    return false;
  message.broadcast = take(text, R"(,"broadcast":1)");
  if (!take(text, R"(,"content":)") || !text.ends_with('}')) return false;
  text.remove_suffix(1);
  if (id.empty() || from.empty() || from == "0" || to.empty()) return false;
  if (parsed == nullptr || !parse_own_content(text, *parsed)) {
    if (text.empty() || text == "null" || text.front() <= ' ' || text.back() <= ' ' ||
        !is_ascii_json(text, kDeepest - 1))
      return false;
    message.content = Content::trusted_json(os::copy_of(text));
  }
  message.id = id;
  message.from = from;
  message.to = to;
  return true;
}

/// Reads a message member by member.
Message read_any_envelope(std::string_view text, std::string_view receiver);

}  // namespace

IncomingMessage decode_envelope(std::string_view text, std::string_view receiver) {
  IncomingMessage incoming;
  if (!read_own_envelope(text, incoming.message, &incoming.parsed))
    incoming = {read_any_envelope(text, receiver)};
  return incoming;
}

std::optional<IncomingMessage> decode_envelope(std::string_view head, Body& body, std::string_view tail,
                                               std::string_view receiver) {
  if (!head.ends_with(':') || !tail.starts_with('}')) return std::nullopt;
  std::string rest;
  rest.reserve(head.size() + kPayloadStandIn.size() + tail.size());
  auto incoming = decode_envelope(rest.append(head).append(kPayloadStandIn).append(tail), receiver);
  Content& content = incoming.parsed ? incoming.parsed->payload : incoming.message.content;
  if (content.json() != kPayloadStandIn || !is_payload(body) || (!incoming.parsed && body.bytes == "null"))
    return std::nullopt;
  content = Content::trusted_json(std::move(body.bytes));
  return incoming;
}

Message read_envelope(std::string_view text, std::string_view receiver) {
  Message message;
  if (!read_own_envelope(text, message, nullptr)) message = read_any_envelope(text, receiver);
  return message;
}

namespace {

/// false: the message has it twice.
bool add_field(Fields& fields, std::string_view name, std::string_view raw) {
  return fields
      .emplace(std::string(name), Content::trusted_json(is_ascii(raw) ? std::string(raw) : to_ascii(raw)))
      .second;
}

Message read_any_envelope(std::string_view text, std::string_view receiver) {
  Message message;
  unsigned seen = 0;
  bool has_content = false;
  message.stamp = -1;
  for_each_member(text, "a message",
                  [&](std::string_view key, MemberKind kind, std::string_view raw, std::string_view decoded) {
                    const std::string_view plain = kind == MemberKind::string ? decoded : raw;
                    const auto first = [&](Seen field) {
                      const bool again = (seen & static_cast<unsigned>(field)) != 0;
                      seen |= static_cast<unsigned>(field);
                      return !again;
                    };
                    if (kind == MemberKind::null)
                      return key != "content" || first(Seen::content);  // null counts as missing
                    if (key == "content") {
                      has_content = true;
                      message.content =
                          Content::trusted_json(is_ascii(raw) ? std::string(raw) : to_ascii(raw));
                      return first(Seen::content);
                    }
                    if (!is_envelope_key(key)) return add_field(message.fields, key, raw);
                    if (kind == MemberKind::nested) return true;
                    if (key == "id") return message.id = plain, first(Seen::id);
                    if (key == "from") return message.from = plain, first(Seen::from);
                    if (key == "to") return message.to = plain, first(Seen::to);
                    if (key == "broadcast")
                      return message.broadcast = is_truthy(kind, raw, decoded), first(Seen::broadcast);
                    if (key == "stamp")
                      return message.stamp = number_or<double>(plain, -1), first(Seen::stamp);
                    if (key == "stamp_ord")
                      return message.stamp_ord = number_or<std::uint64_t>(plain, 0), first(Seen::ord);
                    return true;
                  });
  if (message.from.empty() || message.from == "0")
    throw ProtocolError("a message without a sender (key 'from')");
  if (!has_content)
    throw ProtocolError("a message from '" + message.from +
                        "' without content (key 'content' is missing or null)");
  if (message.id.empty()) message.id = os::make_uuid();
  if (message.to.empty()) message.to = receiver;
  if (!(message.stamp > 0)) message.stamp = os::wall_clock_seconds();
  return message;
}

}  // namespace

std::string write_hello(std::string_view name) {
  return R"({"hello":)" + json_string(name) + R"(,"ipcm":)" + std::to_string(kSharesMemory) + "}";
}

Hello read_hello(std::string_view text) {
  Hello hello;
  for_each_member(text, "a greeting",
                  [&](std::string_view key, MemberKind kind, std::string_view raw, std::string_view decoded) {
                    if (key == "hello" && kind == MemberKind::string) hello.name = decoded;
                    if (key == "hello" && kind == MemberKind::other)
                      hello.name = raw;  // Perl sends the name 7 as a number
                    if (key == "ipcm" && kind == MemberKind::other)
                      hello.version = number_or<unsigned>(raw, 0);
                    return true;
                  });
  if (hello.name.empty()) throw ProtocolError("a greeting without a name (key 'hello')");
  return hello;
}

bool is_late_hello(std::string_view text) {
  constexpr std::size_t kLongest = 4096;
  if (text.size() > kLongest || text.find("hello") == std::string_view::npos) return false;
  bool hello = false, other = false;
  try {
    for_each_member(text, "a greeting",
                    [&](std::string_view key, MemberKind, std::string_view, std::string_view) {
                      (key == "hello" ? hello : other) = true;
                      return true;
                    });
  } catch (const ProtocolError&) {
    return false;
  }
  return hello && !other;
}

}  // namespace ipcm::wire
