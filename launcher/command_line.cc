#include "command_line.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

#include "os/signals.h"
#include "wire/nearest.h"
#include "wire/printable.h"

namespace ipcm::launcher {
namespace {

/// Returns the verb that was given, or the last part of it that the parser knows.
const CLI::App& innermost(const CLI::App& app) {
  const CLI::App* at = &app;
  for (auto chosen = at->get_subcommands(); !chosen.empty(); chosen = at->get_subcommands())
    at = chosen.front();
  return *at;
}

std::vector<std::string> verbs_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(verb->get_name());
  return names;
}

/// Returns the long options of the verb and of the commands above it.
std::vector<std::string> options_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* at = &app; at != nullptr; at = at->get_parent())
    for (const CLI::Option* option : at->get_options())
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

std::string in_full(const CLI::App& app) {
  std::string name = app.get_name();
  for (const CLI::App* at = app.get_parent(); at != nullptr; at = at->get_parent())
    name.insert(0, at->get_name() + " ");
  return name;
}

std::string quoted(const std::string& word) { return "'" + wire::printable_name(word) + "'"; }

std::string about_extra_word(const CLI::App& verb, const std::string& word) {
  if (word.size() > 1 && word.starts_with('-')) {
    const std::string option = word.substr(0, word.find('='));
    return "there is no option " + quoted(option) + wire::did_you_mean(option, options_of(verb)) +
           (verb.get_name() == "session" || verb.get_name() == "start" || verb.get_name() == "run"
                ? "; a program with options of its own goes after --"
                : "");
  }
  const auto verbs = verbs_of(verb);
  if (verbs.empty()) return "'" + in_full(verb) + "' takes no word " + quoted(word);
  return "there is no command " + quoted(word) + wire::did_you_mean(word, verbs);
}

}  // namespace

std::string HelpFormatter::make_subcommands(const CLI::App* app, CLI::AppFormatMode mode) const {
  std::string text = CLI::Formatter::make_subcommands(app, mode);
  const CLI::App* root = app;
  while (root->get_parent() != nullptr) root = root->get_parent();
  if (root == app) return text;
  const auto shared = root->get_options([root](const CLI::Option* option) {
    return option->nonpositional() && option != root->get_help_ptr() && option->get_name() != "--version";
  });
  return text + make_group("Options of all commands", false, shared);
}

std::string explain(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& verb = innermost(app);
  std::string words = error.what();
  const auto extras = app.remaining(true);
  // An extra word is the cause, even if the parser reports that something is missing.
  if (!extras.empty() &&
      (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr || !verbs_of(verb).empty()))
    words = about_extra_word(verb, extras.front());
  else if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && !verbs_of(verb).empty()) {
    words = &verb == &app ? "no command is given" : "'" + in_full(verb) + "' wants one of:";
    if (&verb != &app)
      for (const std::string& name : verbs_of(verb)) words.append(" ").append(name);
  }
  std::replace(words.begin(), words.end(), '\n', ' ');
  return words + "; try: " + in_full(verb) + " --help";
}

namespace {

/// Returns nullopt if the text is no span of time; zero for 0.
std::optional<Duration> span_in(const std::string& text) {
  constexpr std::pair<const char*, double> kUnits[] = {{"", 1},   {"s", 1},    {"ms", 1e-3}, {"us", 1e-6},
                                                       {"m", 60}, {"min", 60}, {"h", 3600}};
  const char* const end = text.data() + text.size();
  double number = 0;
  const auto read = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  const std::string unit(read.ptr, end);
  const auto* known =
      std::find_if(std::begin(kUnits), std::end(kUnits), [&](const auto& one) { return unit == one.first; });
  if (read.ec != std::errc() || !std::isfinite(number) || number < 0 || std::signbit(number) ||
      known == std::end(kUnits))
    return std::nullopt;
  if (number == 0) return Duration::zero();
  constexpr double kLongest = 1e8;  // three years, in seconds
  const std::chrono::duration<double> seconds(std::min(number * known->second, kLongest));
  // Not down to zero, which has a meaning of its own.
  return std::max(std::chrono::round<Duration>(seconds), Duration(1));
}

}  // namespace

Duration read_time_limit(const std::string& option, const std::string& text) {
  static_assert(kNoLimit == Duration::zero());
  if (const auto span = span_in(text)) return *span;
  throw CLI::ValidationError(
      option,
      "wants a span of time such as 5, 0.5, 5s, 500ms or 2m, or 0 for no limit; found " + quoted(text));
}

Duration read_span(const std::string& option, const std::string& text) {
  if (const auto span = span_in(text); span && *span > Duration::zero()) return *span;
  throw CLI::ValidationError(
      option,
      "wants a span of time of more than 0, such as 5, 0.5, 5s, 500ms or 50us; found " + quoted(text));
}

std::size_t read_count(const std::string& option, const std::string& text) {
  std::size_t count = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, count);
  if (read.ec != std::errc() || read.ptr != end)
    throw CLI::ValidationError(option, "wants a whole number such as 20; found " + quoted(text));
  return count;
}

int read_signal(const std::string& option, const std::string& text) {
  if (const auto named = os::signal_number(text)) return *named;
  int number = -1;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end || number < 0)
    throw CLI::ValidationError(
        option, "wants a signal: a name such as TERM or HUP, or a number; found " + quoted(text));
  return number;
}

void refuse_empty_values(const CLI::App& app) {
  for (const CLI::App* at = &innermost(app); at != nullptr; at = at->get_parent())
    for (const CLI::Option* option : at->get_options()) {
      const bool may_be_empty = option->get_name() == "CMD" || option->get_name() == "JSON" ||
                                option->get_name() == "REQUEST" || option->get_name() == "--args";
      if (may_be_empty || option->get_expected_max() == 0) continue;
      for (const std::string& value : option->results())
        if (value.empty()) throw CLI::ValidationError(option->get_name(), kEmptyValue);
    }
}

}  // namespace ipcm::launcher
