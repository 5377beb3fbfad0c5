#include "report.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>

#include "log_follower.h"
#include "os/sys.h"
#include "wire/json_text.h"

namespace ipcm::launcher {
namespace {

struct Verdict {
  Status status;
  const char* kind;
  std::string message;
  const LaunchError* launch = nullptr;
};

std::string as_json(const Verdict& verdict) {
  JsonWriter writer;
  writer.open();
  // What a child wrote need not be UTF-8, and is told all the same.
  const auto words = [&](const char* name, const std::string& text) {
    writer.name_next(name);
    writer.raw(wire::json_string(text, wire::BrokenUtf8::replaced));
  };
  words("error", verdict.message);
  words("kind", verdict.kind);
  writer(cereal::make_nvp("status", number(verdict.status)));
  if (verdict.launch != nullptr) {
    const LaunchError::Facts& facts = verdict.launch->facts();
    writer(cereal::make_nvp("phase", std::string(to_string(facts.phase))));
    if (facts.status) {
      const bool exited = facts.status->how == ExitStatus::How::exited;
      writer(cereal::make_nvp(exited ? "exit_status" : "signal", facts.status->value));
    }
    if (facts.error != 0) writer(cereal::make_nvp("errno", facts.error));
    if (!facts.reason.empty()) words("reason", facts.reason);
    if (!facts.stderr_tail.empty()) words("stderr", facts.stderr_tail);
  }
  writer.close();
  return writer.take();
}

/// Of a service that has a log, for an error about its end.
std::string last_words(const Options& options, const std::string& peer) {
  try {
    const std::string words = last_words_of(options.bus_info(), peer);
    return words.empty() ? words : "; its last words: " + words;
  } catch (const Error&) {
    return {};  // no bus, no log
  }
}

Status say(const Options& options, const Verdict& verdict) {
  if (options.json)
    std::fprintf(stderr, "%s\n", as_json(verdict).c_str());
  else
    std::fprintf(stderr, "ipcm: %s\n", verdict.message.c_str());
  return verdict.status;
}

}  // namespace

Status report_error(const Options& options) noexcept {
  try {
    try {
      throw;
    } catch (const OutputLost& lost) {
      constexpr int kSignalled = 128;
      // As if SIGPIPE had ended us: whoever reads no more wants to hear no more.
      if (lost.code() == EPIPE) return static_cast<Status>(kSignalled + SIGPIPE);
      return say(options, {Status::answered_with_error, "output", lost.what()});
    } catch (const LaunchError& error) {
      return say(options, {Status::launch_failed, "launch", error.what(), &error});
    } catch (const RemoteError& error) {
      return say(options, {Status::answered_with_error, "answer",
                           "'" + error.peer() + "' answered with an error: " + error.what()});
    } catch (const AnswerIsBytes& error) {
      return say(options, {Status::answered_with_error, "answer", error.what()});
    } catch (const PeerGone& error) {
      return say(options, {Status::gone, "gone", error.what() + last_words(options, error.peer())});
    } catch (const Timeout& error) {
      return say(options, {Status::timed_out, "timeout", error.what()});
    } catch (const BusError& error) {
      return say(options, {Status::gone, "bus", error.what()});
    } catch (const UsageError& error) {
      return say(options, {Status::usage, "usage", error.what()});
    } catch (const ProtocolError& error) {
      return say(options, {Status::usage, "protocol", error.what()});
    } catch (const std::exception& error) {
      return say(options, {Status::launch_failed, "system", error.what()});
    }
  } catch (...) {
    return Status::launch_failed;
  }
}

int report_words(const Options& options, const std::string& words, int status) {
  return number(say(options, {static_cast<Status>(status), "usage", words}));
}

OutputLost::OutputLost(int error)
    : Error("stdout can't be written: " + os::errno_text(error)), code_(error) {}

void tell(const Options& options, const std::string& sentence) {
  if (options.verbose) std::fprintf(stderr, "ipcm: %s\n", sentence.c_str());
}

void print_line(const std::string& line) {
  if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size() || std::fputc('\n', stdout) == EOF)
    throw OutputLost(errno);
}

void print_answer(const Response& response) {
  const Content& content = response.content();
  if (content.is_bytes())
    throw AnswerIsBytes("the answer of '" + response.from() + "' is no JSON but " +
                        std::to_string(content.as_bytes().size()) +
                        " bytes, which are not printed; a program can ask for them");
  print_line(content.readable());
}

void flush_output() {
  if (std::fflush(stdout) != 0) throw OutputLost(errno);
}

void print_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line.append(row[i]);
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
    }
    print_line(line);
  }
}

std::string readable_milliseconds(Duration span) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f ms", std::chrono::duration<double, std::milli>(span).count());
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
