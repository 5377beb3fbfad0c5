#include <algorithm>
#include <cstdlib>

#include "handoff/handoff.h"
#include "ipcm/error.h"
#include "os/directory.h"
#include "os/pipe.h"
#include "os/standard_streams.h"
#include "wire/number.h"

namespace ipcm::handoff {
namespace {

int descriptor_number(const std::string& option, std::string_view text) {
  const auto number = wire::number_from<int>(text);
  if (!number || *number < 0)
    throw UsageError(option + " wants the number of an open descriptor, found '" + std::string(text) + "'");
  return *number;
}

void expect_open(const std::string& what, int number) {
  if (!os::is_open(number))
    throw UsageError(what + ": descriptor " + std::to_string(number) + " is not open");
}

os::UniqueFd take(const std::string& what, int number) {
  expect_open(what, number);
  // The numbers 0 to 2 must stay free for the standard streams of the service and of its children.
  if (number <= 2) return os::take_standard_stream(number);
  (void)os::set_close_on_exec(number);
  return os::UniqueFd(number);
}

/// Takes an optional descriptor. Returns none if the number is not open: a launcher further up may have left
/// the variable.
os::UniqueFd take_if_open(std::string_view text) {
  const auto number = wire::number_from<int>(text);
  if (!number || *number < 3 || !os::set_close_on_exec(*number)) return {};
  return os::UniqueFd(*number);
}

std::string take_variable(const char* variable) {
  auto value = os::environment(variable);
  if (!value) return {};
  ::unsetenv(variable);
  return std::move(*value);
}

os::UniqueFd take_from_environment(const char* variable) { return take_if_open(take_variable(variable)); }

OriginalStreams take_original_streams() {
  OriginalStreams streams;
  const std::string list = take_variable(kOriginalVariable);
  std::size_t at = 0;
  for (os::UniqueFd& stream : streams) {
    const std::size_t end = std::min(list.find(',', at), list.size());
    if (at < end) stream = take_if_open(std::string_view(list).substr(at, end - at));
    at = std::min(end + 1, list.size());
  }
  return streams;
}

void take_log(Inherited& inherited) {
  const std::string text = take_variable(kLogVariable);
  if (text.empty()) return;
  const std::string_view streams = std::string_view(text).substr(std::min(text.find(','), text.size()));
  inherited.log = take_if_open(std::string_view(text).substr(0, text.size() - streams.size()));
  inherited.log_out = inherited.log && streams.find(",1") != std::string_view::npos;
  inherited.log_err = inherited.log && streams.find(",2") != std::string_view::npos;
}

}  // namespace

CommandLine read_command_line(int argc, const char* const* argv) {
  CommandLine line;
  bool list = false, json = false, no_more_options = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    std::optional<std::string> value;  // the value of --option=value
    std::string option = word;
    if (const auto equals = word.find('='); word.starts_with("--") && equals != std::string::npos) {
      option = word.substr(0, equals);
      value = word.substr(equals + 1);
    }
    const auto argument = [&]() -> std::string {
      if (value) return *value;
      if (i + 1 >= argc) throw UsageError(option + " wants the number of an open descriptor");
      return argv[++i];
    };
    if (no_more_options || !word.starts_with('-')) {
      if (line.params)
        throw UsageError("one PARAMS document at most, found a second: '" + word.substr(0, 40) + "'");
      line.params = word;
    } else if (option == "--ready-fd") {
      line.ready_fd = descriptor_number(option, argument());
    } else if (option == "--params-fd") {
      line.params_fd = descriptor_number(option, argument());
    } else if (word == "--") {
      no_more_options = true;
    } else if (word == "--list") {
      list = true;
    } else if (word == "--json") {
      json = true;
    } else if (word == "--help" || word == "-h") {
      line.action = CommandLine::Action::help;
      return line;
    } else {
      throw UsageError("unknown option '" + word + "'");
    }
  }
  if (list) line.action = json ? CommandLine::Action::list_json : CommandLine::Action::list;
  if (json && !list) throw UsageError("--json needs --list");
  if (line.params && line.params_fd) throw UsageError("either PARAMS or --params-fd, not both");
  if (!list && !line.params && !line.params_fd)
    throw UsageError("no parameters: give PARAMS, a JSON object, or --params-fd");
  return line;
}

Inherited take_inherited(const CommandLine& line) {
  Inherited inherited;
  // These checks come before the closed streams are opened: a closed descriptor is a mistake of the launcher.
  if (line.params_fd) expect_open("--params-fd", *line.params_fd);
  if (line.ready_fd) expect_open("--ready-fd", *line.ready_fd);
  os::fill_standard_streams(os::ClosedStdout::discards);
  if (line.ready_fd) inherited.ready = take("--ready-fd", *line.ready_fd);
  inherited.leash = take_from_environment(kLeashVariable);
  inherited.real_stderr = take_from_environment(kStderrVariable);
  take_log(inherited);
  inherited.original = take_original_streams();
  return inherited;
}

std::string take_parameters(const CommandLine& line, const os::UniqueFd& leash) {
  const bool whole = !take_variable(kWholeVariable).empty();
  if (line.params) return *line.params;
  const os::UniqueFd file = take("--params-fd", line.params_fd.value_or(-1));
  // A dynamic fallback inherits the variable, but gets the parameters in a memory file.
  const bool is_pipe = os::facts_of(file.get()).kind == os::FileKind::fifo;
  const auto until = whole && is_pipe ? os::Input::all : os::Input::some;
  // Another process may hold a copy of the pipe's write end. Once the launcher has ended, nothing will come.
  if (!os::await_input(file.get(), until, leash.get()))
    throw UsageError("--params-fd: the launcher ended before it wrote the parameters");
  return os::read_all(file.get(), kLargestParameters, "parameters");
}

}  // namespace ipcm::handoff
