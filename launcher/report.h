#pragma once

#include <optional>
#include <string>

#include "exit_status.h"
#include "ipcm/requester.h"
#include "options.h"
#include "output.h"

namespace ipcm::launcher {

/// An error as the user is told of it.
struct Verdict {
  Status status = Status::done;
  std::string kind;     ///< "usage", "gone", "launch", …
  std::string message;  ///< for a person
  std::optional<LaunchError::Facts> launch = {};

  /// One object. `line`: of stdin, where one is to blame.
  [[nodiscard]] std::string json(std::optional<std::size_t> line = {}) const;
};

/// What was thrown. Call it inside a catch block.
[[nodiscard]] Verdict understand_error();
/// "; its last words: …" of a service that has a log, for an error about its end; or nothing.
[[nodiscard]] std::string last_words(const Options& options, const std::string& peer);
/// Turns what was thrown into words on stderr and a status. Call it inside a catch block.
[[nodiscard]] Status report_error(const Options& options) noexcept;

/// The same for an error that is understood already.
Status report(const Options& options, const Verdict& verdict);
/// The same for words that nothing was thrown for.
int report_words(const Options& options, const std::string& words, int status);

/// An answer that is no JSON: there is no line for it.
class AnswerIsBytes : public Error {
 public:
  using Error::Error;
};

/// Words for people, on stderr, if they asked for them.
void tell(const Options& options, const std::string& sentence);
/// An answer as a line of JSON. Throws what it failed with, and AnswerIsBytes.
void print_answer(const Response& response);

[[nodiscard]] std::string readable_milliseconds(Duration span);
[[nodiscard]] std::string readable_age(double seconds);
[[nodiscard]] std::string readable_size(std::uint64_t bytes);

}  // namespace ipcm::launcher
