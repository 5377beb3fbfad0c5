#include "command/payload.h"

#include <algorithm>

#include "ipcm/error.h"
#include "wire/json_check.h"
#include "wire/json_text.h"
#include "wire/printable.h"

namespace ipcm::command {
namespace {

/// Whether a text needs no change to be content: one line of ASCII JSON without white space around it.
bool is_plain_json(std::string_view text) {
  return !text.empty() && text.front() > ' ' && text.back() > ' ' &&
         wire::is_ascii_json(text, wire::kDeepestContent);
}

}  // namespace

std::string text_for_program(Content&& content, bool raw) {
  if (content.is_bytes()) throw UsageError("a program gets JSON or text, and this request is bytes");
  if (raw && content.json().starts_with('"')) return content.as<std::string>("request");
  return std::move(content).take_json();
}

std::string line_for_program(Content&& content, bool raw) {
  const bool is_text = raw && !content.is_bytes() && content.json().starts_with('"');
  std::string line = text_for_program(std::move(content), raw);
  if (line.find_first_of("\r\n") == std::string::npos) return line;
  if (is_text)
    throw UsageError("the text has several lines, and a program that speaks lines gets one for each request");
  // JSON has newlines between its tokens only.
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return line;
}

Content answer_of_program(std::string_view text, bool raw) {
  constexpr std::size_t kShown = 200;
  if (raw) {
    if (text.ends_with('\n')) text.remove_suffix(1);
    return Content::trusted_json(wire::json_string(text, wire::BrokenUtf8::replaced));
  }
  if (is_plain_json(text)) return Content::trusted_json(std::string(text));
  try {
    return Content::json(text);
  } catch (const ProtocolError& error) {
    if (text.find_first_not_of(" \t\r\n") == std::string_view::npos)
      throw Error("printed nothing, and an answer is one JSON value (raw: any text)");
    throw Error("printed no JSON value: '" + wire::printable(text, kShown) + "': " + error.what() +
                " (raw: any text is an answer)");
  }
}

}  // namespace ipcm::command
