#include "command/jsonrpc/framing.h"

#include <algorithm>

#include "ipcm/error.h"
#include "wire/number.h"
#include "wire/printable.h"

namespace ipcm::command::jsonrpc {
namespace {

constexpr std::size_t kLongestHeader = 4096, kShown = 200;
constexpr std::string_view kLineEnd = "\r\n";

std::string quoted(std::string_view text) { return "'" + wire::printable(text, kShown) + "'"; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && wire::is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && wire::is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::string in_lower_case(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), wire::lower_case);
  return lower;
}

[[noreturn]] void refuse_header(const std::string& why) {
  throw Error("broke the framing 'content-length': " + why);
}

std::string too_long(std::size_t most) {
  return "a message of more than " + std::to_string(most) + " bytes (max_output)";
}

/// The specification has one character set, under two names.
void expect_utf8(std::string_view content_type) {
  const std::string type = in_lower_case(content_type);
  constexpr std::string_view kCharset = "charset=";
  const auto at = type.find(kCharset);
  if (at == std::string::npos) return;
  std::string name = type.substr(at + kCharset.size());
  name = name.substr(0, name.find(';'));
  std::erase(name, '"');
  const auto charset = trimmed(name);
  if (charset != "utf-8" && charset != "utf8")
    refuse_header("the character set " + quoted(charset) + " is not supported, only utf-8");
}

}  // namespace

std::string framed(std::string json, Framing framing) {
  if (framing == Framing::content_length)
    return json.insert(0, "Content-Length: " + std::to_string(json.size()) + "\r\n\r\n");
  // JSON has newlines between its tokens only.
  std::replace_if(
      json.begin(), json.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  json.push_back('\n');
  return json;
}

std::optional<FrameReader::Step> FrameReader::next(std::string_view stream) {
  if (framing_ == Framing::lines) return next_line(stream);
  if (!length_) return next_header(stream);
  if (stream.size() < *length_) return std::nullopt;
  const Step step{*length_, stream.substr(0, *length_)};
  length_.reset();
  return step;
}

std::optional<FrameReader::Step> FrameReader::next_line(std::string_view stream) {
  const auto newline = stream.find('\n', searched_);
  searched_ = stream.size();
  const std::size_t length = std::min(newline, stream.size());
  if (length > most_) throw Error("printed " + too_long(most_));
  if (newline == std::string_view::npos) return std::nullopt;
  searched_ = 0;
  return Step{newline + 1, trimmed(stream.substr(0, newline))};
}

/// The header is a step of its own: it does not count for the size of the message.
std::optional<FrameReader::Step> FrameReader::next_header(std::string_view stream) {
  std::optional<std::size_t> length;
  for (std::size_t at = 0;;) {
    const auto end = stream.find(kLineEnd, at);
    const std::size_t size = std::min(end, stream.size());
    if (size > kLongestHeader)
      refuse_header("its header has more than " + std::to_string(kLongestHeader) + " bytes; it begins with " +
                    quoted(stream));
    if (end == std::string_view::npos) {
      // A banner has no colon before its end, and no \r: it would keep the reader waiting.
      const auto newline = stream.find('\n', at);
      if (newline != std::string_view::npos)
        refuse_header("a line of the header does not end with \\r\\n: " +
                      quoted(stream.substr(at, newline - at)));
      return std::nullopt;
    }
    const std::string_view line = stream.substr(at, end - at);
    at = end + kLineEnd.size();
    if (line.empty()) {
      if (!length) refuse_header("the header has no Content-Length");
      if (*length > 0) length_ = length;
      return Step{at, {}};
    }
    const auto colon = line.find(':');
    if (colon == std::string_view::npos)
      refuse_header(quoted(line) + " is no line of a header (Content-Length: N)");
    const std::string name = in_lower_case(trimmed(line.substr(0, colon)));
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (name == "content-type") expect_utf8(value);
    if (name != "content-length") continue;
    if (length) refuse_header("the header has Content-Length twice");
    length = wire::number_from<std::size_t>(value);
    if (!length) refuse_header("Content-Length is no number: " + quoted(value));
    if (*length > most_) refuse_header(too_long(most_) + " is announced: " + std::to_string(*length));
  }
}

}  // namespace ipcm::command::jsonrpc
