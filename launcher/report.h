#pragma once

#include <optional>
#include <string>

#include "exit_status.h"
#include "ipcm/requester.h"
#include "options.h"
#include "output.h"

namespace ipcm::launcher {

/// An error, as the command reports it to the user.
struct Verdict {
  Status status = Status::done;
  std::string kind;     ///< "usage", "gone", "launch", …
  std::string message;  ///< for people
  std::optional<LaunchError::Facts> launch = {};

  /// Returns the error as one JSON object. `line`: the number of the wrong line of stdin, if there is one.
  [[nodiscard]] std::string json(std::optional<std::size_t> line = {}) const;
};

/// Returns the verdict on the current exception. Call it inside a catch block.
[[nodiscard]] Verdict understand_error();
/// Returns "; its last words: …" for an error about the end of a service; empty if the service has no log.
[[nodiscard]] std::string last_words(const Options& options, const std::string& peer);
/// Reports the current exception on stderr and returns the exit status. Call it inside a catch block.
[[nodiscard]] Status report_error(const Options& options) noexcept;

/// Reports an error that understand_error() has returned.
Status report(const Options& options, const Verdict& verdict);
/// Reports an error of the command line, without an exception. Returns `status`.
int report_words(const Options& options, const std::string& words, int status);

/// An error: the answer is bytes, which the command can't print as JSON.
class AnswerIsBytes : public Error {
 public:
  using Error::Error;
};

/// Prints a sentence on stderr if --verbose is given.
void tell(const Options& options, const std::string& sentence);
/// Prints an answer as a line of JSON. Throws the error of the request, and AnswerIsBytes.
void print_answer(const Response& response);

[[nodiscard]] std::string readable_milliseconds(Duration span);
/// Returns seconds with two digits after the point: "0.07s".
[[nodiscard]] std::string readable_seconds(double seconds);
[[nodiscard]] std::string readable_age(double seconds);
[[nodiscard]] std::string readable_size(std::uint64_t bytes);

}  // namespace ipcm::launcher
