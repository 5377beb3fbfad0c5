#include "ipcm/content.h"

#include "wire/json_text.h"

namespace ipcm {

Content::Content(std::string_view utf8) : text_(wire::json_string(utf8)) {}

Content Content::json(std::string_view text) {
  wire::check_json(text, "the text");
  Content content;
  content.text_ = wire::is_ascii(text) ? std::string(text) : wire::to_ascii(text);
  // White space around the value is no part of it.
  const auto first = content.text_.find_first_not_of(" \t\r\n");
  const auto last = content.text_.find_last_not_of(" \t\r\n");
  if (first != 0 || last + 1 != content.text_.size())
    content.text_ = content.text_.substr(first, last - first + 1);
  return content;
}

Content Content::trusted_json(std::string text) {
  Content content;
  content.text_ = std::move(text);
  return content;
}

std::string Content::readable() const { return wire::to_readable(text_); }

}  // namespace ipcm
