#include "options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <sstream>

#include "command_line.h"
#include "commands/commands.h"
#include "exit_status.h"
#include "program_options.h"
#include "report.h"
#include "wire/printable.h"

namespace ipcm::launcher {
namespace {

constexpr const char* kExitStatuses =
    "Exit status: 0 done; 1 the service answered with an error, or with bytes; 2 usage; 3 no such bus\n"
    "or peer, or it went away; 4 a request or a wait timed out; 5 launch failed; 74 the output could not\n"
    "be written. Answers go to stdout, one JSON value a line; text for people goes to stderr.";

/// The prefix of a word like [1,2] while it passes through the parser. The parser would split such a word as
/// a list of its own, and here it is JSON. Nobody types this character.
constexpr char kMark = '\x01';

std::vector<std::string> marked(int argc, char** argv) {
  std::vector<std::string> words;
  for (int i = 1; i < argc && std::string_view(argv[i]) != "--"; ++i) {
    const std::string_view word = argv[i];
    // The parser would use the next word as the value.
    if (word.starts_with("--") && word.ends_with('=') && word.find('=') + 1 == word.size())
      throw CLI::ValidationError(std::string(word.substr(0, word.size() - 1)), kEmptyValue);
  }
  for (int i = argc - 1; i > 0; --i) {  // the parser expects the last word first
    const std::string_view word = argv[i];
    const bool list = word.size() >= 2 && word.starts_with('[') && word.ends_with(']');
    words.push_back((list ? std::string(1, kMark) : std::string()) + std::string(word));
  }
  return words;
}

std::string unmarked(std::string word) {
  std::erase(word, kMark);
  return word;
}

/// Removes the marks when the parser stores a value. Called when all options of all verbs are known.
void unmark_values(CLI::App& app) {
  for (CLI::Option* option : app.get_options())
    if (option->get_items_expected_max() > 0) option->transform(unmarked);
  for (CLI::App* verb : app.get_subcommands({})) unmark_values(*verb);
}

/// Returns whether --json is given. For errors of the parser, which may not have reached it.
bool says_json(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--json") return true;
    if (word == "--") return false;  // the rest belongs to the command of `ipcm session`
  }
  return false;
}

/// Adds a verb: its name, its function, its help and an example.
CLI::App* verb(CLI::App& parent, Options& options, const std::string& name, Command function,
               const std::string& summary, const std::string& example) {
  CLI::App* command = parent.add_subcommand(name, summary);
  command->footer("Example:\n" + example);
  command->fallthrough();
  command->callback([&options, function] { options.command = function; });
  return command;
}

void add_span(CLI::App* command, const std::string& flag, std::optional<Duration>& into,
              const std::string& help) {
  command
      ->add_option_function<std::string>(
          flag, [flag, &into](const std::string& text) { into = read_span(flag, text); }, help)
      ->type_name("TIME");
}

void add_spin(CLI::App* command, Options& options) {
  command
      ->add_option_function<std::string>(
          "--spin",
          [&options](const std::string& text) {
            options.spin = read_span("--spin", text);
            if (options.spin > std::chrono::seconds(1))
              throw CLI::ValidationError("--spin",
                                         "wants at most 1 s, found '" + wire::printable(text) + "'");
          },
          "poll for this long before each sleep: faster answers for a busy processor, such as 50us;\n"
          "at most 1 s [do not]")
      ->type_name("TIME");
}

void add_start_options(CLI::App* command, Options& options) {
  command
      ->add_option("CLASS", options.class_name,
                   "the class of the service; `ipcm types` lists the classes;\n"
                   "or instead of it, at the end of the line, -- and a program with its arguments")
      ->required();
  command->add_option("--args", options.args, "the class's parameters, a JSON object")->type_name("JSON");
  command
      ->add_option("--boot", options.boot,
                   "the boot binary to execute [$IPCM_BOOT, else ipcm-boot: beside ipcm, in its\n"
                   "installation directory, or on $PATH]")
      ->type_name("PATH");
  command->add_flag("--secret", options.secret, "keep the parameters out of the process list");
  command->add_flag("--expose-errors", options.expose_errors,
                    "requesters get the text of the service's exceptions, and not just that there was one");
  add_span(command, "--interval", options.interval,
           "the time between two calls of on_interval; only some classes do something then [never]");
  add_spin(command, options);
  command
      ->add_option_function<std::vector<std::string>>(
          "--redirect",
          [&options](const std::vector<std::string>& all) {
            for (const std::string& one : all) {
              const auto equals = one.find('=');
              const std::string stream = one.substr(0, equals);
              std::string* target = stream == "in"    ? &options.redirect.in
                                    : stream == "out" ? &options.redirect.out
                                    : stream == "err" ? &options.redirect.err
                                                      : nullptr;
              if (target == nullptr || equals == std::string::npos || equals + 1 == one.size())
                throw CLI::ValidationError("--redirect",
                                           "wants in=PATH, out=PATH or err=PATH, found '" + one + "'");
              *target = one.substr(equals + 1);
            }
          },
          "redirect a stream of the service: in=PATH, out=PATH or err=PATH; the PATHs &1 and &2\n"
          "are stdout and stderr of ipcm; once for each stream [in=/dev/null; out and err: a log\n"
          "of the service, see `ipcm logs`]")
      ->allow_extra_args(false)  // one word: the next one may be a request
      ->type_name("STREAM=PATH");
  add_program_options(*command, options);
}

void add_count_option(CLI::App* command, Options& options) {
  command
      ->add_option_function<std::string>(
          "-n,--count", [&options](const std::string& text) { options.count = read_count("--count", text); },
          "end after N lines; with --timeout, fewer are an error [no limit]")
      ->type_name("N");
}

void add_bus_options(CLI::App* command, Options& options) {
  command
      ->add_option("--protocol", options.protocol,
                   "protocol of the bus; `ipcm bus protocols` lists them\n"
                   "[$IPCM_PROTOCOL, else ConnectionUnix]")
      ->type_name("NAME");
  command
      ->add_option("--serializer", options.serializer,
                   "serializer of its messages: a name, or [\"JSON::Zstd\",\"level\",9] [JSON]")
      ->type_name("NAME");
}

}  // namespace

Content json_from(const std::string& text, const std::string& what, std::size_t line) {
  try {
    return Content::json(text);
  } catch (const ProtocolError& error) {
    constexpr std::size_t kShown = 60;
    std::string reason = error.what();
    if (const std::string prefix = "the text "; reason.starts_with(prefix)) reason.erase(0, prefix.size());
    const std::string first_line = "at line 1, ";
    if (const auto place = reason.rfind(first_line); place != std::string::npos && line != 1)
      reason.replace(place, first_line.size(), "at line " + std::to_string(line) + ", ");
    // A shell removes the quotes of a string, so that a bare word is left.
    const auto first = text.find_first_not_of(" \t\r\n");
    const bool is_word =
        first != std::string::npos && std::isalpha(static_cast<unsigned char>(text[first])) != 0;
    throw UsageError(what + " '" + wire::printable(text, kShown) + "' " + reason +
                     (is_word ? R"(; a string needs its quotes: '"…"')" : ""));
  }
}

std::optional<Options> read_options(int argc, char** argv, int& status) {
  Options options;
  CLI::App app("Starts services and talks to them over a local message bus.", "ipcm");
  app.require_subcommand(1);
  app.set_version_flag("--version", IPCM_VERSION);
  app.footer(std::string(kExitStatuses) +
             "\n\nExample:\n  ipcm run echo '{\"hello\":\"world\"}'\n\n`ipcm COMMAND --help` describes a "
             "command.");
  app.formatter(std::make_shared<HelpFormatter>());  // before the verbs are added: they copy it
  app.add_option("--bus", options.bus, "the bus: its info string, or its directory [$IPCM_INFO]")
      ->type_name("INFO");
  app.add_flag("--json", options.json, "print results and errors as JSON, for programs");
  app.add_flag("-v,--verbose", options.verbose, "print the steps of the command on stderr");
  app.add_option_function<std::string>(
         "--timeout",
         [&options](const std::string& text) { options.timeout = read_time_limit("--timeout", text); },
         "the time limit of a start [10s], and of each answer [no limit]:\n"
         "seconds, or a number with a unit (500ms, 5s, 2m, 1h); 0: no limit")
      ->type_name("TIME");

  CLI::App* run = verb(
      app, options, "run", launcher::run,
      "start a service on a new bus, send requests, print the answers, remove both",
      "  ipcm run echo '{\"hello\":\"world\"}'\n  ipcm run echo --args '{\"prefix\":\"> \"}' < lines.json\n"
      "  ipcm run --raw -- bc -l < lines        (any program; see docs/command.md)");
  add_start_options(run, options);
  add_bus_options(run, options);
  run->add_option("REQUEST", options.words,
                  "the requests, JSON values; if none is given, each line of stdin is one");

  CLI::App* session = verb(app, options, "session", launcher::session,
                           "run a command (or $SHELL) with IPCM_INFO set to a new bus; then remove the bus",
                           "  ipcm session -- sh -c 'ipcm start echo; ipcm request echo 1'");
  add_bus_options(session, options);
  session->add_option("CMD", options.words, "the command and its arguments, after --");

  CLI::App* bus = app.add_subcommand("bus", "make, list and remove buses");
  bus->require_subcommand(1);
  bus->fallthrough();
  CLI::App* bus_new = verb(*bus, options, "new", launcher::bus_new,
                           "make a bus, and print the shell commands that set IPCM_INFO",
                           "  eval \"$(ipcm bus new)\"\n  eval \"$(ipcm bus new --protocol MessageFiles)\"");
  add_bus_options(bus_new, options);
  bus_new->add_option("--route", options.route, "an existing place for the bus: a directory, or a database")
      ->type_name("ROUTE");
  bus_new
      ->add_option("--user", options.user, "the user on a database server; the password is $IPCM_DB_PASSWORD")
      ->type_name("NAME");
  verb(*bus, options, "protocols", launcher::bus_protocols,
       "list the protocols of this build, and the reason if one does not work here",
       "  ipcm bus protocols --json");
  CLI::App* rm = verb(*bus, options, "rm", launcher::bus_rm, "end all members of a bus, and remove it",
                      " ipcm bus rm\n ipcm bus rm /run/user/1000/ipcm-4711-x7Gh2a");
  rm->add_option("BUS", options.words, "info strings or directories [$IPCM_INFO]");
  verb(*bus, options, "ls", launcher::bus_ls, "list the buses of this user on this machine", "  ipcm bus ls");
  verb(*bus, options, "info", launcher::bus_info, "describe one bus", "  ipcm bus info --json");
  verb(*bus, options, "gc", launcher::bus_gc, "remove buses without members whose owner was killed",
       "  ipcm bus gc");

  CLI::App* start = verb(
      app, options, "start", launcher::start, "start a service on a bus, and return when it is ready",
      "  ipcm start echo --name e1\n  ipcm start greeter --boot ./greeter-boot --args '{\"word\":\"Hi\"}'\n"
      "  ipcm start --name up -- jq -c ascii_upcase\n"
      "  ipcm start --ready line:listening -- ./server --port 8080");
  add_start_options(start, options);
  start->add_option("--name", options.name, "the name of the service on the bus [the class, or the program]")
      ->type_name("NAME");
  start->add_flag("--no-wait", options.no_wait, "return before the service is ready");

  CLI::App* stop =
      verb(app, options, "stop", launcher::stop, "end services: ask them to end, then send signals",
           "  ipcm stop e1\n  ipcm stop --all");
  stop->add_option("NAME", options.words, "names of the services on the bus");
  stop->add_flag("--all", options.all, "end all members of the bus");

  CLI::App* restart = verb(app, options, "restart", launcher::restart,
                           "end a service that `ipcm start` has started, and start it again with the same\n"
                           "parameters; also one that has died",
                           "  ipcm restart e1");
  restart->add_option("NAME", options.name, "the name of the service")->required();

  CLI::App* kill = verb(app, options, "kill", launcher::kill, "send a signal to the processes of members",
                        "  ipcm kill -s HUP e1\n  ipcm kill -s KILL e1 e2");
  kill->add_option("NAME", options.words, "names of the members; their processes must be proven from here")
      ->required();
  kill->add_option_function<std::string>(
          "-s,--signal",
          [&options](const std::string& text) { options.signal = read_signal("--signal", text); },
          "the signal: a name such as TERM or HUP, or a number; 0 only checks the names [TERM]")
      ->type_name("SIG");

  CLI::App* listen = verb(app, options, "listen", launcher::listen,
                          "join a bus and print the messages that come, a JSON object a line",
                          "  ipcm listen --as me\n"
                          "  mkfifo answers; ipcm listen --as up --reply < answers |\n"
                          "    jq --unbuffered -c '.content | ascii_upcase' > answers");
  listen->add_option("--as", options.name, "the name on the bus [one that is made up]")->type_name("NAME");
  listen->add_flag("--reply", options.reply,
                   "answer requests: each line of stdin is the answer to the oldest one, an empty line\n"
                   "an error; ends with stdin");
  add_count_option(listen, options);

  CLI::App* events =
      verb(app, options, "events", launcher::events,
           "print what happens to the members of a bus: joined, ready, left, died",
           "  ipcm events\n  ipcm events --json | jq --unbuffered 'select(.event == \"died\")'");
  add_count_option(events, options);

  CLI::App* logs = verb(app, options, "logs", launcher::logs,
                        "print the stdout and stderr of a service that ipcm has started; also after its end",
                        "  ipcm logs e1 -n 20\n  ipcm logs e1 -f");
  logs->add_option("NAME", options.name, "the name of the service")->required();
  logs->add_flag("-f,--follow", options.follow, "print new lines too, until the bus is removed");
  logs->add_option_function<std::string>(
          "-n,--lines", [&options](const std::string& text) { options.lines = read_count("--lines", text); },
          "print only the last N lines [default: all that is kept, 1 to 2 MiB]")
      ->type_name("N");

  CLI::App* ps = verb(
      app, options, "ps", launcher::ps,
      "list the members of a bus: their state, age, processor time and memory; a STATE of stopped or zombie "
      "is that\n"
      "of the process",
      "  ipcm ps\n  ipcm ps --json\n  ipcm ps -a\n  ipcm ps --ping --watch");
  CLI::Option* dead =
      ps->add_flag("-a,--all", options.all,
                   "also the services that have died: when, how, and the last line of their logs");
  ps->add_flag(
      "--ping", options.ping,
      "ask each service for its facts, as `ipcm inspect` does, for a second at most: the list has the\n"
      "messages that wait in it and the requests that it has answered; a STATE can be not answering");
  ps->add_flag(
        "--watch", options.watch,
        "print the list again whenever it changes, until the bus is removed; --json: a line for each list")
      ->excludes(dead);
  CLI::App* inspect = verb(
      app, options, "inspect", launcher::inspect,
      "ask a service of ipcm for its facts: its parameters, requests, messages and last failure; it answers\n"
      "between two requests, so a busy one may not answer in time (--timeout, default: 5s)",
      "  ipcm inspect e1\n  ipcm inspect e1 --json | jq .requests.open");
  inspect->add_option("NAME", options.name, "the name of the service")->required();
  verb(app, options, "types", launcher::types, "list the classes of a boot binary, with their arguments",
       "  ipcm types\n  ipcm types --boot ./greeter-boot")
      ->add_option("--boot", options.boot, "the boot binary to ask")
      ->type_name("PATH");

  CLI::App* wait =
      verb(app, options, "wait", launcher::wait, "wait until services are ready, or have left the bus",
           "  ipcm wait e1\n  ipcm wait e1 --for gone --timeout 30s");
  wait->add_option("NAME", options.words, "names of the services on the bus")->required();
  wait->add_option_function<std::string>(
          "--for",
          [&options](const std::string& text) {
            if (text != "ready" && text != "gone")
              throw CLI::ValidationError("--for", "wants ready or gone, found '" + text + "'");
            options.awaited = text == "gone" ? Options::Awaited::gone : Options::Awaited::ready;
          },
          "ready: it can receive; gone: it has left; prints the end of its process [ready]")
      ->type_name("ready|gone");

  CLI::App* request =
      verb(app, options, "request", launcher::request, "send requests to a peer, print the answers",
           "  ipcm request e1 '{\"n\":1}'\n  ipcm request e1 @large.json\n"
           "  ipcm request e1 --lines --jobs 8 < requests.jsonl");
  request->add_option("NAME", options.name, "the name of the peer")->required();
  request->add_option("JSON", options.words,
                      "the requests, sent one after the other: JSON, @FILE, or - for stdin");
  request->add_flag(
      "--lines", options.by_lines,
      "each line of stdin is a request, and the answers are lines in the same order; --timeout is for each");
  request->add_option("--jobs", options.jobs, "with --lines: how many requests are open at the same time [1]")
      ->type_name("N")
      ->check(CLI::Range(std::size_t{1}, std::size_t{4096}));
  add_spin(request, options);

  CLI::App* send = verb(app, options, "send", launcher::send, "send messages to a peer; there is no answer",
                        "  ipcm send e1 '{\"note\":1}'");
  send->add_option("NAME", options.name, "the name of the peer")->required();
  send->add_option("JSON", options.words, "the messages: JSON, @FILE, or - for stdin")->required();

  CLI::App* broadcast = verb(app, options, "broadcast", launcher::broadcast,
                             "send messages to all members of a bus", " ipcm broadcast '{\"note\":1}'");
  broadcast->add_option("JSON", options.words, "the messages: JSON, @FILE, or - for stdin")->required();

  CLI::App* bridge = verb(app, options, "bridge", launcher::bridge,
                          "put a program on a bus: lines of JSON on stdin and stdout, see docs/bridge.md",
                          "  ipcm bridge --as me\n  ipcm bridge --serve --name worker");
  bridge->add_option("--as", options.as, "the name of the client on the bus [a new one]")->type_name("NAME");
  bridge->add_flag("--reconnect", options.reconnect,
                   "join under a name that was suspended, or whose process died, and get its messages");
  bridge->add_flag("--serve", options.serve, "be a service, and not a client");
  bridge->add_option("--name", options.name, "the name of a service that nobody has launched")
      ->type_name("NAME");
  bridge->add_option("--fds", options.fds, "the descriptors to speak on, instead of stdin and stdout")
      ->type_name("IN,OUT");
  bridge->add_flag("--lengths", options.tells_lengths, "write a line with its length before each long line");
  bridge->add_option("ARG", options.words,
                     "with --serve, after --: the boot arguments that the program was started with");

  unmark_values(app);
  try {
    take_program(app, argc, argv, options);
    app.parse(marked(argc, argv));
    refuse_empty_values(app);
    complete_program(options);
  } catch (const CLI::ParseError& error) {
    options.json = options.json || says_json(argc, argv);
    try {
      if (error.get_exit_code() == 0) {  // help and version
        std::ostringstream text, nothing;
        (void)app.exit(error, text, nothing);
        print_text(text.str());
        flush_output();
        status = number(Status::done);
        return std::nullopt;
      }
      status = report_words(options, unmarked(explain(app, error)), number(Status::usage));
    } catch (...) {
      status = number(report_error(options));
    }
    return std::nullopt;
  }
  // `run`, `session`, `restart`, `ps --watch` and `bridge` do many things; the limit applies to each of them. For the other
  // verbs, it begins with the verb; `request` begins a new one for each further request.
  options.limits_each_step = options.command == launcher::run || options.command == launcher::session ||
                             options.command == launcher::bridge || options.command == launcher::listen ||
                             options.command == launcher::events || options.command == launcher::restart ||
                             options.watch || options.by_lines;
  return options;
}

}  // namespace ipcm::launcher
