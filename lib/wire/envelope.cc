#include "wire/envelope.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#include "ipcm/error.h"
#include "os/clock.h"
#include "os/memory.h"
#include "os/random.h"
#include "wire/json_check.h"
#include "wire/json_text.h"
#include "wire/top_level.h"

namespace ipcm::wire {
namespace {

enum class Seen : unsigned { id = 1, from = 2, to = 4, broadcast = 8, stamp = 16, ord = 32, content = 64 };

template <class Number>
Number number_or(std::string_view digits, Number otherwise) {
  Number number{};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool whole = error == std::errc{} && end == digits.data() + digits.size();
  return whole && std::isfinite(static_cast<double>(number)) ? number : otherwise;
}

/// As printf writes "%.5f", whatever the locale.
void append_stamp(std::string& into, double stamp) {
  // Our own are whole numbers of ticks.
  constexpr double kTicks = 1e5, kLargest = 9e10;
  const std::uint64_t ticks =
      stamp >= 1 && stamp < kLargest ? static_cast<std::uint64_t>(std::llround(stamp * kTicks)) : 0;
  if (ticks > 0 && static_cast<double>(ticks) / kTicks == stamp) {
    std::array<char, 24> digits;  // NOLINT: filled below
    char* const end = std::to_chars(digits.data(), digits.data() + digits.size(), ticks).ptr;
    into.append(digits.data(), end - 5).append(1, '.').append(end - 5, end);
    return;
  }
  std::array<char, 330> digits;  // NOLINT: filled below; the largest double has 309 before the point
  const auto [end, error] =
      std::to_chars(digits.data(), digits.data() + digits.size(), stamp, std::chars_format::fixed, 5);
  (void)error;  // it fits
  into.append(digits.data(), end);
}

}  // namespace

std::string write_envelope(const Message& message) {
  return write_envelope(message, ContentPieces::of(message.content)).take();
}

void refuse_bytes() {
  throw UsageError(
      "bytes can't be sent on this bus, whose messages are JSON text: make it with the serializer Cereal "
      "(and "
      "not as a JSONFile), or put them into a string, say as base64");
}

namespace {

/// Up to the content.
void append_head(std::string& text, const Message& message) {
  text.append(R"({"id":)");
  append_json_string(text, message.id);  // that of somebody else may hold anything
  text.append(R"(,"from":)");
  append_json_string(text, message.from);
  text.append(R"(,"to":)");
  append_json_string(text, message.to);
  text.append(R"(,"stamp":)");
  append_stamp(text, message.stamp);
  text.append(R"(,"stamp_ord":)");
  std::array<char, 24> digits;  // NOLINT: filled below
  text.append(digits.data(),
              std::to_chars(digits.data(), digits.data() + digits.size(), message.stamp_ord).ptr);
  if (message.broadcast) text.append(R"(,"broadcast":1)");
  text.append(R"(,"content":)");
}

}  // namespace

void append_envelope(std::string& into, const Message& message, const ContentPieces& content) {
  if (content.is_bytes) refuse_bytes();
  append_head(into, message);
  into.append(content.before).append(content.payload).append(content.after).push_back('}');
}

Written write_envelope(const Message& message, const ContentPieces& content) {
  constexpr std::size_t kRest = 200;
  if (content.is_bytes) refuse_bytes();
  Written written;
  written.head.reserve(message.from.size() + message.to.size() + content.before.size() + kRest);
  append_head(written.head, message);
  written.head.append(content.before);
  written.body = content.payload;
  written.tail.append(content.after).push_back('}');
  return written;
}

namespace {

/// Cuts `word` from the front. Its length is known when this is compiled, which spares a call for each.
template <std::size_t kSize>
bool take(std::string_view& text, const char (&word)[kSize]) {
  constexpr std::size_t kLength = kSize - 1;  // without its NUL
  if (text.size() < kLength || std::memcmp(text.data(), word, kLength) != 0) return false;
  text.remove_prefix(kLength);
  return true;
}
/// What stands before the quote that comes next, if it stands there as it is.
bool take_plain(std::string_view& text, std::string& into) {
  const char* const end = skip_plain(text.data(), text.data() + text.size());
  if (end == text.data() + text.size() || *end != '"') return false;
  into.assign(text.data(), end);
  text.remove_prefix(into.size() + 1);
  return true;
}
/// As JSON has them and we write them: digits, and digits after a point.
template <class Number>
bool take_number(std::string_view& text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return false;
  const auto taken = text.substr(0, static_cast<std::size_t>(end - text.data()));
  const auto is_plain = [](char c) { return (c >= '0' && c <= '9') || c == '.'; };
  if (!std::all_of(taken.begin(), taken.end(), is_plain) || taken.ends_with('.')) return false;
  text.remove_prefix(taken.size());
  return true;
}

/// A message with its members as write_envelope() puts them, and nothing to be made up: most are. false: it
/// is to be read member by member; what it means then is the same.
bool read_own_envelope(std::string_view text, Message& message, std::optional<Conversation>* said) {
  if (!take(text, R"({"id":")") || !take_plain(text, message.id) || !take(text, R"(,"from":")") ||
      !take_plain(text, message.from) || !take(text, R"(,"to":")") || !take_plain(text, message.to) ||
      !take(text, R"(,"stamp":)"))
    return false;
  if (text.empty() || text[0] < '1' || text[0] > '9' || !take_number(text, message.stamp) ||
      !take(text, R"(,"stamp_ord":)"))
    return false;
  // JSON has no number with a leading zero.
  if (text.empty() || text[0] < '0' || text[0] > '9' || (text[0] == '0' && !text.starts_with("0,")) ||
      !take_number(text, message.stamp_ord))
    return false;
  message.broadcast = take(text, R"(,"broadcast":1)");
  if (!take(text, R"(,"content":)") || !text.ends_with('}')) return false;
  text.remove_suffix(1);
  if (message.id.empty() || message.from.empty() || message.from == "0" || message.to.empty() ||
      !std::isfinite(message.stamp))
    return false;
  if (said != nullptr && (*said = read_own_conversation(text))) return true;
  if (text.empty() || text == "null" || text.front() <= ' ' || text.back() <= ' ' ||
      !is_ascii_json(text, kDeepest - 1))
    return false;
  message.content = Content::trusted_json(os::copy_of(text));
  return true;
}

/// Member by member.
Message read_any_envelope(std::string_view text, std::string_view receiver);

}  // namespace

Heard hear_envelope(std::string_view text, std::string_view receiver) {
  Heard heard;
  if (read_own_envelope(text, heard.message, &heard.said)) return heard;
  return {read_any_envelope(text, receiver)};
}

std::optional<Heard> hear_envelope(std::string_view head, std::string& body, std::string_view tail,
                                   std::string_view receiver) {
  if (!head.ends_with(':') || !tail.starts_with('}')) return std::nullopt;
  std::string rest;
  rest.reserve(head.size() + kPayloadStandIn.size() + tail.size());
  auto heard = hear_envelope(rest.append(head).append(kPayloadStandIn).append(tail), receiver);
  Content& content = heard.said ? heard.said->payload : heard.message.content;
  if (content.json() != kPayloadStandIn || !is_payload(body) || (!heard.said && body == "null"))
    return std::nullopt;
  content = Content::trusted_json(std::move(body));
  return heard;
}

Message read_envelope(std::string_view text, std::string_view receiver) {
  Message message;
  if (read_own_envelope(text, message, nullptr)) return message;
  return read_any_envelope(text, receiver);
}

namespace {

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
                      return key != "content" || first(Seen::content);  // as if it were not there
                    if (key == "content") {
                      has_content = true;
                      message.content =
                          Content::trusted_json(is_ascii(raw) ? std::string(raw) : to_ascii(raw));
                      return first(Seen::content);
                    }
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
