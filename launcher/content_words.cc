#include "content_words.h"

#include <algorithm>

#include "ipcm/error.h"
#include "options.h"
#include "os/pipe.h"
#include "os/sys.h"
#include "os/time_limit.h"
#include "wire/printable.h"

namespace ipcm::launcher {
namespace {

/// The most that a frame carries (docs/bus.md). The bus refuses less, since a message has an envelope, too.
constexpr std::size_t kLongestContent = 64UL * 1024 * 1024;

[[noreturn]] void refuse_length(const std::string& source) {
  throw UsageError(
      source +
      " is longer than 64 MiB, more than a message can carry; split it, or send the path of the file");
}

std::string text_of_stdin() {
  const os::Deadline deadline = os::TimeLimit::current();
  std::string text = os::read_until_end(0, deadline, "stdin", kLongestContent + 1);
  if (text.size() > kLongestContent) refuse_length("stdin");
  if (deadline.has_passed()) throw Timeout("stdin has not ended within the time given by --timeout");
  return text;
}

/// The file may be a FIFO, a terminal or another device: then this waits for bytes, and not for a writer in open().
std::string text_of_file(const std::string& path) {
  const std::string shown = "file '" + wire::printable(path) + "'";
  const os::Deadline deadline = os::TimeLimit::current();
  std::string text;
  try {
    text = os::read_until_end(os::open_input(path).get(), deadline, "the file", kLongestContent + 1);
  } catch (const SystemError& error) {
    throw UsageError(shown + " can't be read: " + os::errno_text(error.code()));
  }
  if (text.size() > kLongestContent) refuse_length(shown);
  if (deadline.has_passed())
    throw Timeout(shown +
                  " has not ended within the time given by --timeout; it is a pipe, a terminal or a "
                  "device, and its writer still has it open, or has never opened it");
  return text;
}

}  // namespace

std::vector<Content> contents_of(const std::vector<std::string>& words, const std::string& what) {
  if (std::count(words.begin(), words.end(), "-") > 1)
    throw UsageError("stdin can be read once, and '-' was given twice");
  std::vector<Content> all;
  all.reserve(words.size());
  for (const std::string& word : words) {
    if (word == "-")
      all.push_back(json_from(text_of_stdin(), what + " from stdin"));
    else if (word.starts_with('@'))
      all.push_back(
          json_from(text_of_file(word.substr(1)), what + " from " + wire::printable(word.substr(1))));
    else
      all.push_back(json_from(word, what));
  }
  return all;
}

}  // namespace ipcm::launcher
