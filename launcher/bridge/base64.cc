#include "bridge/base64.h"

#include <cstdint>

#include "ipcm/error.h"

namespace ipcm::launcher {
namespace {

constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr unsigned kBitsOfLetter = 6, kBitsOfByte = 8;

}  // namespace

std::string to_base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  std::uint32_t bits = 0;
  unsigned held = 0;
  for (const char byte : bytes) {
    bits = (bits << kBitsOfByte) | static_cast<unsigned char>(byte);
    for (held += kBitsOfByte; held >= kBitsOfLetter;)
      text.push_back(kLetters[(bits >> (held -= kBitsOfLetter)) & 0x3FU]);
  }
  if (held > 0) text.push_back(kLetters[(bits << (kBitsOfLetter - held)) & 0x3FU]);
  text.append((4 - text.size() % 4) % 4, '=');
  return text;
}

std::string from_base64(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 2);
  std::uint32_t bits = 0;
  unsigned held = 0;
  for (const char letter : text) {
    const auto value = kLetters.find(letter);
    if (value == std::string_view::npos) throw UsageError("'bytes' is no base64");
    bits = (bits << kBitsOfLetter) | static_cast<std::uint32_t>(value);
    held += kBitsOfLetter;
    if (held >= kBitsOfByte) bytes.push_back(static_cast<char>((bits >> (held -= kBitsOfByte)) & 0xFFU));
  }
  if (text.size() % 4 == 1) throw UsageError("'bytes' is no base64: a letter is missing");
  return bytes;
}

}  // namespace ipcm::launcher
