// The kinds of readiness that need nothing but the program itself.

#include "command/readiness.h"

#include <string>

#include "command/pattern.h"

namespace ipcm::command {
namespace {

/// A longer line is looked at in pieces.
constexpr std::size_t kLongestLine = 64UL * 1024;

/// started: its exec has succeeded.
class Started final : public Readiness {
 public:
  bool look(Program&) override { return true; }
};

/// exit: it has run to completion.
class Exited final : public Readiness {
 public:
  bool look(Program&) override { return false; }
  [[nodiscard]] bool ends_well() const override { return true; }
};

/// line:REGEX: it has printed a line that matches, on stdout or stderr.
class Line final : public Readiness {
 public:
  explicit Line(Host& host) : host_(host), pattern_(host.plan().ready.text) {}

  void watch(Program& program) override {
    program.on_errors([this](std::string_view text) {
      errors_.append(text);
      for (std::size_t end = 0; !matched_ && (end = errors_.find('\n')) != std::string::npos;) {
        matched_ = pattern_.matches(errors_.substr(0, end));
        errors_.erase(0, end + 1);
      }
      if (errors_.size() > kLongestLine) errors_.clear();
    });
  }

  bool look(Program& program) override {
    while (!matched_) {
      const std::string_view output = program.output();
      const auto newline = output.find('\n');
      if (newline == std::string_view::npos && output.size() <= kLongestLine) break;
      const std::string line(
          output.substr(0, newline == std::string_view::npos ? output.size() : newline + 1));
      program.drop_output(line.size());
      host_.output_log().write(line);
      program.note_words(line);
      matched_ = is_on_stdout_ = pattern_.matches(line.substr(0, line.find_last_not_of("\r\n") + 1));
    }
    if (!matched_) return false;
    program.on_errors({});
    if (!is_on_stdout_ && !program.output().empty()) {  // printed before the line on stderr, so no answer
      host_.output_log().write(program.output());
      program.drop_output(program.output().size());
    }
    return true;
  }
  [[nodiscard]] bool reads_output() const override { return true; }

 private:
  Host& host_;
  Pattern pattern_;
  std::string errors_;
  bool matched_ = false, is_on_stdout_ = false;
};

}  // namespace

std::unique_ptr<Readiness> make_readiness(Host& host) {
  switch (host.plan().ready.kind) {
    case ReadyWhen::Kind::line:
      return std::make_unique<Line>(host);
    case ReadyWhen::Kind::exit:
      return std::make_unique<Exited>();
    case ReadyWhen::Kind::fd:
      return ready_fd(host);
    case ReadyWhen::Kind::notify:
      return ready_notify(host);
    case ReadyWhen::Kind::port:
      return ready_port(host);
    case ReadyWhen::Kind::exec:
      return ready_exec(host);
    case ReadyWhen::Kind::started:
      break;
  }
  return std::make_unique<Started>();
}

}  // namespace ipcm::command
