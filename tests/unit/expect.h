#pragma once

#include <string>
#include <utility>

#include "ipcm/error.h"

namespace ipcm::test {

/// Returns the message of the exception of `call`, which must be an `Expected`.
template <class Expected = ProtocolError, class Call>
std::string error_of(Call&& call) {
  try {
    std::forward<Call>(call)();
  } catch (const Expected& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

inline std::string repeated(const std::string& piece, std::size_t times) {
  std::string text;
  text.reserve(piece.size() * times);
  for (std::size_t i = 0; i < times; ++i) text += piece;
  return text;
}

}  // namespace ipcm::test
