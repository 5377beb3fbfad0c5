#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "ipcm/basics.h"

// Additions to CLI11, the parser of command lines: help that lists the options of all commands, errors that
// suggest a similar word, and time limits with units.

namespace ipcm::launcher {

/// A formatter whose help of a verb also lists the options of all verbs.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_subcommands(const CLI::App* app, CLI::AppFormatMode mode) const override;
};

/// Returns one sentence about a wrong command line: it names the wrong word, suggests a similar one, and ends
/// with the command that prints the help.
[[nodiscard]] std::string explain(const CLI::App& app, const CLI::ParseError& error);

/// Reads "5", "0.5", "5s", "500ms", "2m" or "1h". A number without a unit is in seconds; 0 means no limit.
/// Throws CLI::ValidationError.
[[nodiscard]] Duration read_time_limit(const std::string& option, const std::string& text);
/// Reads a span of time in the same way, also with the unit us; it must be more than 0. Throws
/// CLI::ValidationError.
[[nodiscard]] Duration read_span(const std::string& option, const std::string& text);
/// Reads a whole number, at least 0. Throws CLI::ValidationError.
[[nodiscard]] std::size_t read_count(const std::string& option, const std::string& text);
/// Reads a signal: a name such as TERM or SIGTERM, or a number; 0 only checks. Throws CLI::ValidationError.
[[nodiscard]] int read_signal(const std::string& option, const std::string& text);

/// Throws CLI::ValidationError if an option or a word of the verb is empty, unless an empty value has a
/// meaning (JSON, a command). An empty value would count as not given; in a script its usual cause is a
/// variable that is not set.
void refuse_empty_values(const CLI::App& app);
inline constexpr const char* kEmptyValue = "is empty; is a variable not set?";

}  // namespace ipcm::launcher
