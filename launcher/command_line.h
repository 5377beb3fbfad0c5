#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "ipcm/basics.h"

// What the parser of command lines does not do by itself: help that names the options of all commands, errors
// that suggest the word that was meant, time limits with units.

namespace ipcm::launcher {

/// Help of a verb also lists the options that all verbs share.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_subcommands(const CLI::App* app, CLI::AppFormatMode mode) const override;
};

/// The command line is wrong: one sentence that names the word, and the word that was probably meant.
[[nodiscard]] std::string explain(const CLI::App& app, const CLI::ParseError& error);

/// "5", "0.5", "5s", "500ms", "2m", "1h"; 0: no limit. Throws CLI::ValidationError.
[[nodiscard]] Duration read_time_limit(const std::string& option, const std::string& text);
/// Throws CLI::ValidationError for what is no number of things.
[[nodiscard]] std::size_t read_count(const std::string& option, const std::string& text);

/// No option and no word of the verb may be empty, where it would count as not given: in a script, that is a
/// variable that is not set. Throws CLI::ValidationError.
void refuse_empty_values(const CLI::App& app);
inline constexpr const char* kEmptyValue = "is empty; is a variable not set?";

}  // namespace ipcm::launcher
