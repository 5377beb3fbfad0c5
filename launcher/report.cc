#include "report.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "ipcm/obituary.h"
#include "ipcm/service_log.h"
#include "wire/json_text.h"
#include "wire/printable.h"

namespace ipcm::launcher {
namespace {

/// An error as a line of JSON.
struct VerdictLine {
  const Verdict& verdict;
  std::optional<std::size_t> line;  // of stdin

  void save(JsonWriter& archive) const {
    // The message may quote output of a child, which need not be UTF-8.
    archive(cereal::make_nvp("error", foreign_text(verdict.message)));
    if (line) archive(cereal::make_nvp("line", *line));
    archive(cereal::make_nvp("kind", foreign_text(verdict.kind)),
            cereal::make_nvp("status", number(verdict.status)));
    if (verdict.launch) save_launch(archive, *verdict.launch);
  }

  static void save_launch(JsonWriter& archive, const LaunchError::Facts& facts) {
    archive(cereal::make_nvp("phase", std::string(to_string(facts.phase))));
    if (facts.status) {
      const bool exited = facts.status->how == ExitStatus::How::exited;
      archive(cereal::make_nvp(exited ? "exit_status" : "signal", facts.status->value));
    }
    if (facts.error != 0) archive(cereal::make_nvp("errno", facts.error));
    if (!facts.reason.empty()) archive(cereal::make_nvp("reason", foreign_text(facts.reason)));
    if (!facts.stderr_tail.empty()) archive(cereal::make_nvp("stderr", foreign_text(facts.stderr_tail)));
  }
};

Status say(const Options& options, const Verdict& verdict) {
  if (options.json)
    complain_json(verdict.json());
  else
    complain(verdict.message);
  return verdict.status;
}

/// Returns "; it died: …" if a peer that is not on the bus has an obituary, and what its supervisor does next, unless
/// the error says it already.
std::string death_of(const Options& options, const PeerGone& gone) {
  constexpr std::size_t kLongestNext = 200;
  try {
    const auto obituary = obituary_of(options.bus_info(), gone.peer());
    if (!obituary) return {};
    const std::string how = gone.status() ? "" : "; it died: " + obituary->how();
    const std::string next = wire::printable(obituary->next, kLongestNext);
    const bool is_said = next.empty() || std::string_view(gone.what()).ends_with("; " + next);
    return how + (is_said ? "" : "; " + next);
  } catch (const Error&) {
    return {};  // without a bus there is none
  }
}

}  // namespace

std::string Verdict::json(std::optional<std::size_t> line) const { return json_of(VerdictLine{*this, line}); }

std::string last_words(const Options& options, const std::string& peer) {
  try {
    const std::string words = service_last_words(options.bus_info(), peer);
    return words.empty() ? words : "; its last words: " + words;
  } catch (const Error&) {
    return {};  // without a bus there is no log
  }
}

Verdict understand_error() {
  try {
    throw;
  } catch (const OutputLost& lost) {
    return {Status::output_lost, "output", lost.what()};
  } catch (const LaunchError& error) {
    return {Status::launch_failed, "launch", error.what(), error.facts()};
  } catch (const RemoteError& error) {
    return {Status::answered_with_error, "answer",
            "'" + wire::printable_name(error.peer()) + "' answered with an error: " + error.what()};
  } catch (const AnswerIsBytes& error) {
    return {Status::answered_with_error, "answer", error.what()};
  } catch (const PeerGone& error) {
    return {Status::gone, "gone", error.what()};
  } catch (const Timeout& error) {
    return {Status::timed_out, "timeout", error.what()};
  } catch (const BusError& error) {
    return {Status::gone, "bus", error.what()};
  } catch (const UsageError& error) {
    return {Status::usage, "usage", error.what()};
  } catch (const ProtocolError& error) {
    return {Status::usage, "protocol", error.what()};
  } catch (const std::exception& error) {
    return {Status::launch_failed, "system", error.what()};
  }
}

Status report_error(const Options& options) noexcept {
  try {
    try {
      throw;
    } catch (const OutputLost& lost) {
      if (lost.code() == EPIPE) return Status::output_lost;  // the reader closed the pipe: no message
      throw;
    } catch (const PeerGone& gone) {
      Verdict verdict = understand_error();
      verdict.message += death_of(options, gone);
      verdict.message += last_words(options, gone.peer());
      return say(options, verdict);
    }
  } catch (...) {
    try {
      return say(options, understand_error());
    } catch (...) {
      return Status::launch_failed;
    }
  }
}

Status report(const Options& options, const Verdict& verdict) { return say(options, verdict); }

int report_words(const Options& options, const std::string& words, int status) {
  return number(say(options, {static_cast<Status>(status), "usage", words}));
}

void tell(const Options& options, const std::string& sentence) {
  if (options.verbose) complain(sentence);
}

void print_answer(const Response& response) {
  const Content& content = response.content();
  if (content.is_bytes())
    throw AnswerIsBytes("the answer of '" + response.from() + "' is no JSON but " +
                        std::to_string(content.as_bytes().size()) +
                        " bytes, which are not printed; a program can ask for them");
  print_json(content.readable());
}

std::string readable_milliseconds(Duration span) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f ms", std::chrono::duration<double, std::milli>(span).count());
  return text.data();
}

std::string readable_seconds(double seconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2fs", seconds);
  return text.data();
}

std::string readable_age(double seconds) {
  constexpr double kMinute = 60, kHour = 3600, kDay = 86400;
  const auto in = [](double value, const char* unit) {
    return std::to_string(static_cast<long>(value)) + unit;
  };
  if (seconds < kMinute) return in(std::max(seconds, 0.0), "s");
  if (seconds < kHour) return in(seconds / kMinute, "m");
  if (seconds < kDay) return in(seconds / kHour, "h");
  return in(seconds / kDay, "d");
}

std::string readable_size(std::uint64_t bytes) {
  std::array<char, 32> text{};
  constexpr double kMebi = 1024.0 * 1024.0;
  std::snprintf(text.data(), text.size(), "%.1f MiB", static_cast<double>(bytes) / kMebi);
  return text.data();
}

}  // namespace ipcm::launcher
