#include "command/arguments.h"

#include <cerrno>
#include <charconv>
#include <cmath>
#include <utility>

#include "command/pattern.h"
#include "ipcm/error.h"
#include "os/accounts.h"
#include "os/directory.h"
#include "os/sys.h"
#include "wire/nearest.h"
#include "wire/printable.h"

extern char** environ;

namespace ipcm::command {
namespace {

constexpr std::uint64_t kMostJobs = 256, kLongestQueue = 1'000'000, kMostOutput = 60UL * 1024 * 1024;
constexpr double kLongestSpan = 1e8;  // three years, in seconds
constexpr double kLongestGrace = 60;
constexpr const char* kShell = "/bin/sh";

[[noreturn]] void refuse(const std::string& parameter, const std::string& why) {
  throw UsageError("args of class 'command': " + parameter + ": " + why);
}

std::string quoted(const std::string& text) { return "'" + wire::printable_name(text) + "'"; }

void expect_text(const std::string& parameter, const std::string& text) {
  if (text.find('\0') != std::string::npos)
    refuse(parameter, "a text for a program can't have a NUL character");
}

/// A word of a parameter, and its meaning.
template <class Meaning>
using Words = std::vector<std::pair<std::string, Meaning>>;

template <class Meaning>
Meaning one_of(const std::string& parameter, const std::string& word, const Words<Meaning>& words) {
  std::vector<std::string> names;
  std::string list;
  for (const auto& [name, meaning] : words) {
    if (name == word) return meaning;
    names.push_back(name);
    list.append(list.empty() ? "" : ", ").append(name);
  }
  refuse(parameter,
         quoted(word) + " is unknown" + wire::did_you_mean(word, names) + "; it is one of: " + list);
}

Duration span(const std::string& parameter, double seconds, double most) {
  if (!(seconds >= 0) || seconds > most)
    refuse(parameter, "wants seconds, from 0 to " + std::to_string(static_cast<std::uint64_t>(most)));
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

std::uint64_t number_within(const std::string& parameter, std::uint64_t number, std::uint64_t least,
                            std::uint64_t most) {
  if (number < least || number > most)
    refuse(parameter, "wants a number from " + std::to_string(least) + " to " + std::to_string(most) +
                          ", found " + std::to_string(number));
  return number;
}

// ---- The program

/// Returns our environment with the changes of `env`.
std::map<std::string, std::string> environment_of(const Arguments& arguments, const std::string& info) {
  std::map<std::string, std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (const auto equals = text.find('='); equals != std::string_view::npos && equals > 0)
      all.insert_or_assign(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
  }
  // Those of the service itself; a program gets its own with ready 'notify'.
  for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) all.erase(name);
  all["IPCM_INFO"] = info;
  for (const auto& [name, value] : arguments.env) {
    const std::string parameter = "env " + quoted(name);
    if (name.empty() || name.find('=') != std::string::npos) refuse(parameter, "is no name of a variable");
    expect_text(parameter, name);
    expect_text(parameter, value.value_or(""));
    if (value)
      all[name] = *value;
    else
      all.erase(name);
  }
  return all;
}

/// Returns the first executable file of that name in the directories of `path`; empty: there is none.
std::string found_on(const std::string& path, const std::string& name) {
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    const std::string directory = path.substr(begin, end - begin);
    std::string candidate = (directory.empty() ? "." : directory) + "/" + name;
    if (os::why_not_executable(candidate) == 0) return os::absolute(candidate);
    begin = end + 1;
  }
  return {};
}

std::string find_program(const std::string& name, const std::map<std::string, std::string>& environment,
                         const std::string& directory) {
  if (name.find('/') == std::string::npos) {
    const auto path = environment.find("PATH");
    const std::string where = path == environment.end() ? "/usr/local/bin:/usr/bin:/bin" : path->second;
    std::string found = found_on(where, name);
    if (found.empty())
      throw UsageError("program " + quoted(name) + " does not exist: it is in no directory of PATH (" +
                       where + ")");
    return found;
  }
  const std::string there = name.starts_with('/') || directory.empty() ? name : directory + "/" + name;
  if (const int error = os::why_not_executable(there); error != 0)
    throw UsageError(
        "program " + quoted(there) + " can't be executed: " + os::errno_text(error) +
        (error == EACCES
             ? "; it has no execute permission (chmod +x), or a directory above it can't be entered"
             : ""));
  return name;
}

os::SpawnRequest spawn_request(const Arguments& arguments, const std::string& info) {
  if (arguments.argv.empty() == arguments.shell.empty())
    refuse("argv", arguments.shell.empty()
                       ? "no program is given: argv is a list of words, shell a text for /bin/sh"
                       : "argv and shell exclude each other");
  os::SpawnRequest spawn;
  spawn.args =
      arguments.shell.empty() ? arguments.argv : std::vector<std::string>{kShell, "-c", arguments.shell};
  for (const std::string& word : spawn.args) expect_text("argv", word);
  if (spawn.args.front().empty()) refuse("argv", "its first word, the program, is empty");
  expect_text("directory", arguments.directory);
  const auto environment = environment_of(arguments, info);
  if (!arguments.directory.empty() && os::look_at(arguments.directory).kind != os::FileKind::directory)
    refuse("directory", quoted(arguments.directory) + " is no directory that can be reached");
  spawn.program = find_program(spawn.args.front(), environment, arguments.directory);
  spawn.directory = arguments.directory;
  for (const auto& [name, value] : environment) spawn.env.emplace_back(name).append("=").append(value);
  return spawn;
}

// ---- Its attributes

unsigned umask_of(const std::string& text) {
  constexpr int kOctal = 8;
  constexpr unsigned kMost = 0777;
  unsigned mask = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mask, kOctal);
  if (error != std::errc() || end != text.data() + text.size() || mask > kMost)
    refuse("umask", "wants an octal number such as \"022\", found " + quoted(text));
  return mask;
}

std::uint64_t limit_value(const std::string& parameter, const Content& value) {
  if (value.json() == "\"unlimited\"") return os::kUnlimited;
  return value.as<std::uint64_t>("args of class 'command': " + parameter);
}

os::ResourceLimit limit_of(const std::string& name, const Content& value) {
  const std::string parameter = "rlimits " + quoted(name);
  const auto resource = os::resource_number(name);
  if (!resource)
    refuse(parameter,
           "is no resource" + wire::did_you_mean(name, os::resource_names()) + "; see setrlimit(2)");
  if (!value.json().starts_with('[')) {
    const std::uint64_t both = limit_value(parameter, value);
    return {*resource, both, both};
  }
  const auto pair = value.as<std::vector<Content>>("args of class 'command': " + parameter);
  if (pair.size() != 2) refuse(parameter, "wants one limit, or the pair [soft,hard]");
  const os::ResourceLimit limit{*resource, limit_value(parameter, pair[0]), limit_value(parameter, pair[1])};
  if (limit.soft > limit.hard) refuse(parameter, "the soft limit is above the hard limit");
  return limit;
}

os::ProcessAttributes attributes_of(const Arguments& arguments) {
  constexpr int kLeastNice = -20, kMostNice = 19;
  os::ProcessAttributes attributes;
  attributes.new_group = attributes.ends_with_parent = true;
  attributes.no_new_privileges = arguments.no_new_privs;
  if (!arguments.user.empty() || !arguments.group.empty())
    attributes.identity = os::identity_of(arguments.user, arguments.group);
  if (!arguments.umask.empty()) attributes.umask = umask_of(arguments.umask);
  for (const auto& [name, value] : arguments.rlimits) attributes.limits.push_back(limit_of(name, value));
  if (arguments.nice && (*arguments.nice < kLeastNice || *arguments.nice > kMostNice))
    refuse("nice", "wants a number from -20 to 19, found " + std::to_string(*arguments.nice));
  attributes.nice = arguments.nice;
  return attributes;
}

// ---- Readiness

unsigned number_after(const std::string& word, const std::string& text, unsigned least, unsigned most) {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < least || number > most)
    refuse("ready", word + ":N wants a number from " + std::to_string(least) + " to " + std::to_string(most));
  return number;
}

/// Reads "notify" or "notify:SECONDS".
Duration watchdog_period(const std::string& text) {
  constexpr double kLeast = 0.01;
  double seconds = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), seconds, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + text.size() || seconds < kLeast)
    refuse("ready", "notify:SECONDS wants the longest time between two WATCHDOG=1, at least 0.01");
  return span("ready", seconds, kLongestSpan);
}

void expect_pattern(const std::string& text) {
  try {
    (void)Pattern(text);
  } catch (const UsageError& error) {
    refuse("ready", error.what());
  }
}

ReadyWhen ready_when(const std::string& text) {
  using Kind = ReadyWhen::Kind;
  constexpr unsigned kLeastDescriptor = 3, kMostDescriptor = 1000, kMostPort = 65535;
  const auto colon = text.find(':');
  const std::string word = text.substr(0, colon);
  const Kind kind = one_of<Kind>("ready", word,
                                 {{"started", Kind::started},
                                  {"line", Kind::line},
                                  {"exit", Kind::exit},
                                  {"fd", Kind::fd},
                                  {"notify", Kind::notify},
                                  {"port", Kind::port},
                                  {"exec", Kind::exec}});
  ReadyWhen ready{.kind = kind, .text = colon == std::string::npos ? "" : text.substr(colon + 1)};
  switch (kind) {
    case Kind::started:
    case Kind::exit:
      if (colon != std::string::npos) refuse("ready", quoted(word) + " takes no value");
      break;
    case Kind::line:
      if (ready.text.empty()) refuse("ready", "line:REGEX wants a regular expression after the colon");
      expect_pattern(ready.text);
      break;
    case Kind::fd:
      ready.number = number_after(word, ready.text, kLeastDescriptor, kMostDescriptor);
      break;
    case Kind::port:
      ready.number = number_after(word, ready.text, 1, kMostPort);
      break;
    case Kind::notify:
      if (colon != std::string::npos) ready.period = watchdog_period(ready.text);
      break;
    case Kind::exec:
      if (ready.text.empty()) refuse("ready", "exec:CMD wants a command of the shell after the colon");
      expect_text("ready", ready.text);
      break;
  }
  return ready;
}

/// Refuses parameters that contradict each other.
void check_together(const Plan& plan) {
  const bool lives_long = plan.speak != Speak::per_request;
  if (!lives_long && plan.ready.kind != ReadyWhen::Kind::started)
    refuse("ready",
           "with speak 'per-request', each request starts a program of its own: none runs that could become "
           "ready");
  if (plan.ready.kind == ReadyWhen::Kind::exit && plan.speak != Speak::none)
    refuse("ready",
           "'exit' waits for the end of the program, which then answers nothing: speak must be 'none'");
  if (plan.speak == Speak::none && plan.jobs != 1) refuse("jobs", "with speak 'none', one program runs");
  if (plan.speak == Speak::jsonrpc && plan.jobs != 1)
    refuse("jobs", "with speak 'jsonrpc', one program runs, which works on many requests at the same time");
  if (plan.speak == Speak::jsonrpc && plan.raw) refuse("raw", "with speak 'jsonrpc', all messages are JSON");
  if (plan.speak == Speak::none && plan.raw) refuse("raw", "with speak 'none', there are no requests");
}

Restart restart_of(const std::string& word, Speak speak) {
  const Words<Restart> words = {
      {"never", Restart::never}, {"on-failure", Restart::on_failure}, {"always", Restart::always}};
  if (word.empty())
    return speak == Speak::lines || speak == Speak::jsonrpc ? Restart::always : Restart::never;
  if (speak == Speak::per_request)
    refuse("restart", "with speak 'per-request', each request starts a program anyway");
  return one_of<Restart>("restart", word, words);
}

/// Reads the parameters of speak "jsonrpc" only.
void take_jsonrpc(const Arguments& arguments, Plan& plan) {
  constexpr std::size_t kLongestHandshake = 100;
  if (plan.speak != Speak::jsonrpc) {
    if (!arguments.framing.empty()) refuse("framing", "goes with speak 'jsonrpc' only");
    if (!arguments.handshake.empty()) refuse("handshake", "goes with speak 'jsonrpc' only");
    return;
  }
  using jsonrpc::Framing;
  if (!arguments.framing.empty())
    plan.framing = one_of<Framing>("framing", arguments.framing,
                                   {{"lines", Framing::lines}, {"content-length", Framing::content_length}});
  if (arguments.handshake.size() > kLongestHandshake)
    refuse("handshake", "has more than " + std::to_string(kLongestHandshake) + " messages");
  for (std::size_t i = 0; i < arguments.handshake.size(); ++i) try {
      plan.handshake.push_back(jsonrpc::read_greeting(arguments.handshake[i]));
    } catch (const Error& error) {
      refuse("handshake", "message " + std::to_string(i + 1) + ": " + error.what());
    }
}

}  // namespace

Plan make_plan(const Arguments& arguments, const std::string& info) {
  Plan plan;
  plan.speak = one_of<Speak>("speak", arguments.speak,
                             {{"none", Speak::none},
                              {"per-request", Speak::per_request},
                              {"lines", Speak::lines},
                              {"jsonrpc", Speak::jsonrpc}});
  plan.ready = ready_when(arguments.ready);
  plan.restart = restart_of(arguments.restart, plan.speak);
  plan.jobs = number_within("jobs", arguments.jobs, 1, kMostJobs);
  plan.queue = number_within("queue", arguments.queue, 1, kLongestQueue);
  plan.max_output = number_within("max_output", arguments.max_output, 1, kMostOutput);
  plan.timeout = span("timeout", arguments.timeout, kLongestSpan);
  plan.start_timeout = span("start_timeout", arguments.start_timeout, kLongestSpan);
  plan.grace = span("grace", arguments.grace, kLongestGrace);
  plan.raw = arguments.raw;
  take_jsonrpc(arguments, plan);
  check_together(plan);
  plan.spawn = spawn_request(arguments, info);
  plan.spawn.attributes = attributes_of(arguments);
  const std::string& first = plan.spawn.args.front();
  plan.program_name = arguments.shell.empty() ? first.substr(first.rfind('/') + 1) : arguments.shell;
  return plan;
}

std::string naming(const Plan& plan) {
  constexpr std::size_t kShown = 60;
  return "program '" + wire::printable(plan.program_name, kShown) + "'";
}

}  // namespace ipcm::command
