#include "program_options.h"

#include <algorithm>
#include <map>

#include "wire/printable.h"

namespace ipcm::launcher {
namespace {

/// Returns the position of the verb on the command line: the first word that is no option of ipcm and no value of one.
int find_verb(const CLI::App& app, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (!word.starts_with('-')) return i;
    const CLI::Option* option = app.get_option_no_throw(word);
    if (option != nullptr && option->get_items_expected_max() > 0) ++i;  // its value is the next word
  }
  return argc;
}

void add_text(CLI::App& verb, const std::string& flag, std::string& into, const std::string& help,
              const char* type) {
  verb.add_option(flag, into, help)->type_name(type)->group("Options of a program");
}

void add_count(CLI::App& verb, const std::string& flag, std::optional<std::size_t>& into,
               const std::string& help) {
  verb.add_option_function<std::string>(
          flag, [flag, &into](const std::string& text) { into = read_count(flag, text); }, help)
      ->type_name("N")
      ->group("Options of a program");
}

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

void add_program_options(CLI::App& verb, Options& options) {
  ProgramOptions& program = options.program;
  add_text(
      verb, "--speak", program.speak,
      "how requests reach the program: per-request (each starts it, with JSON on stdin), lines (a line of\n"
      "JSON in, one out), jsonrpc (JSON-RPC 2.0), none [per-request; none if --ready is given]",
      "HOW");
  add_text(verb, "--framing", program.framing,
           "how JSON-RPC messages stand in the stream: lines, content-length [lines]", "HOW");
  add_text(verb, "--ready", program.ready,
           "when it is ready: started, line:REGEX, port:N, notify, fd:N, exec:CMD, exit [started]", "EVENT");
  add_count(verb, "--jobs", program.jobs, "how many requests it works on at the same time [1]");
  verb.add_flag("--raw", program.raw, "strings reach it as text without quotes, and its output is a string")
      ->group("Options of a program");
  add_count(verb, "--max-output", program.max_output, "the largest answer, in bytes [16 MiB]");
  add_text(verb, "--restart", program.restart, "start it again after its end: never, on-failure, always",
           "WHEN");
}

void take_program(CLI::App& app, int& argc, char** argv, Options& options) {
  int end = 1;
  while (end < argc && std::string_view(argv[end]) != "--") ++end;
  const int at = find_verb(app, end, argv);
  if (end == argc || at >= end) return;
  const std::string name = argv[at];
  if (name != "start" && name != "run") return;
  options.program.words = std::vector<std::string>(argv + end + 1, argv + argc);
  options.program.is_given = true;
  argc = end;
  app.get_subcommand(name)->get_option("CLASS")->required(false);
}

void complete_program(Options& options) {
  const ProgramOptions& program = options.program;
  if (!program.is_given) {
    const char* flag = !program.speak.empty()     ? "--speak"
                       : !program.framing.empty() ? "--framing"
                       : !program.ready.empty()   ? "--ready"
                       : program.jobs             ? "--jobs"
                       : program.raw              ? "--raw"
                       : program.max_output       ? "--max-output"
                       : !program.restart.empty() ? "--restart"
                                                  : nullptr;
    if (flag != nullptr) throw CLI::ValidationError(flag, "needs a program, after --: ipcm start -- jq -c .");
    return;
  }
  if (program.words.empty() || program.words.front().empty())
    throw CLI::ValidationError("--", "no program stands after it");
  if (!options.class_name.empty())
    throw CLI::ValidationError("'" + wire::printable_name(options.class_name) + "'",
                               "a class and a program ('" + wire::printable_name(program.words.front()) +
                                   "', after --) exclude each other; requests for a program come from stdin");
  options.class_name = "command";
  if (options.name.empty()) options.name = base_name(program.words.front());
}

Content program_args(const Options& options) try {
  std::map<std::string, Content> all;
  if (!options.args.empty())
    all = json_from(options.args, "--args").as<std::map<std::string, Content>>("--args");
  const auto put = [&all](const std::string& key, const Content& value, const std::string& given_as) {
    if (!all.emplace(key, value).second)
      throw UsageError("--args has '" + key + "', which is also given by " + given_as);
  };
  const ProgramOptions& program = options.program;
  if (all.contains("shell"))
    throw UsageError("--args has 'shell', and a program stands after --: they exclude each other");
  put("argv", program.words, "the program after --");
  if (!program.ready.empty()) put("ready", program.ready, "--ready");
  if (!program.framing.empty()) put("framing", program.framing, "--framing");
  if (!program.speak.empty())
    put("speak", program.speak, "--speak");
  else
    all.emplace("speak", all.contains("ready") ? "none" : "per-request");
  if (program.jobs) put("jobs", static_cast<std::uint64_t>(*program.jobs), "--jobs");
  if (program.raw) put("raw", true, "--raw");
  if (program.max_output) put("max_output", static_cast<std::uint64_t>(*program.max_output), "--max-output");
  if (!program.restart.empty()) put("restart", program.restart, "--restart");
  return all;
} catch (const ProtocolError& error) {
  throw UsageError(std::string("the program and its options must be valid UTF-8, and --args an object: ") +
                   error.what());
}

}  // namespace ipcm::launcher
