#pragma once

#include <string>
#include <vector>

#include "exit_status.h"
#include "options.h"

namespace ipcm::launcher {

/// Turns what was thrown into words on stderr and a status. Call it inside a catch block.
[[nodiscard]] Status report_error(const Options& options) noexcept;

/// Words for people, on stderr, if they asked for them.
void tell(const Options& options, const std::string& sentence);
/// A line on stdout; flushed, so that whoever reads along sees it.
void print_line(const std::string& line);

/// Columns as wide as their content, for people.
void print_table(const std::vector<std::vector<std::string>>& rows);

[[nodiscard]] std::string readable_milliseconds(Duration span);
[[nodiscard]] std::string readable_age(double seconds);
[[nodiscard]] std::string readable_size(std::uint64_t bytes);

}  // namespace ipcm::launcher
