#pragma once

#include <string>
#include <vector>

#include "command_line.h"
#include "options.h"

// The program of `ipcm start … -- PROGRAM` and `ipcm run … -- PROGRAM`, which becomes a service of the class `command`.

namespace ipcm::launcher {

/// Adds the flags that describe the program of a verb.
void add_program_options(CLI::App& verb, Options& options);

/// If the verb is start or run, moves the words after the first -- from the command line into the options. CLI11 would
/// take them for words of the verb. Call it before the command line is parsed; changes `argc`.
void take_program(CLI::App& app, int& argc, char** argv, Options& options);

/// Checks the options together and completes them: the class, and the name if none is given. Throws
/// CLI::ValidationError for a class together with a program, and for flags of a program without one.
void complete_program(Options& options);

/// Returns the arguments of the class `command`: those of --args, the program, and the flags. Throws UsageError.
[[nodiscard]] Content program_args(const Options& options);

}  // namespace ipcm::launcher
