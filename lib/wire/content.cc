#include "ipcm/content.h"

#include "ipcm/error.h"
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

Content Content::bytes(std::string bytes) { return bytes_within(std::move(bytes), {}); }

Content Content::bytes_within(std::string bytes, std::string_view around) {
  Content content;
  content.text_ = std::move(bytes);
  content.text_.append(around);
  content.around_ = around.size();
  content.is_bytes_ = true;
  return content;
}

std::string Content::take_bytes() && {
  expect_bytes();
  text_.resize(bytes_size());
  around_ = 0;
  is_bytes_ = false;
  return std::exchange(text_, "null");
}

std::string Content::readable() const { return wire::to_readable(json()); }

void Content::throw_no_bytes() const {
  throw UsageError(
      "this content is JSON text and no bytes; json() and as<T>() read it, is_bytes() distinguishes them");
}

void Content::throw_no_json() const {
  throw UsageError("this content is " + std::to_string(bytes_size()) +
                   " bytes and no JSON text; as_bytes() reads them, is_bytes() distinguishes them. For JSON, "
                   "put the bytes into a string, for example as base64");
}

void Content::refuse_bytes(const std::string& what) const {
  throw ProtocolError(what + ": " + std::to_string(bytes_size()) +
                      " bytes, where a JSON value is expected; as_bytes() reads them");
}

}  // namespace ipcm
