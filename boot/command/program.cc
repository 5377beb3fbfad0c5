#include "command/program.h"

#include <sys/epoll.h>

#include <csignal>
#include <utility>

#include "ipcm/error.h"
#include "launch/explain.h"
#include "os/busy_program.h"
#include "os/directory.h"
#include "os/pipe.h"
#include "os/process_tree.h"
#include "os/sys.h"
#include "wire/last_words.h"

namespace ipcm::command {
namespace {

constexpr int kStdin = 0, kStdout = 1, kStderr = 2;
constexpr std::size_t kPiece = 16UL * 1024;
/// What one turn reads from a stream, so that a program that prints without end leaves time for others.
constexpr std::size_t kMostAtOnce = 256UL * 1024;
constexpr std::size_t kKeptWords = 4UL * 1024;

std::string why_not(const os::SpawnFailure& failure, const os::SpawnRequest& request) {
  std::string why = failure.call + std::string(": ") + os::errno_text(failure.error);
  switch (failure.step) {
    case os::SpawnStep::set_attributes:
      return "its attributes (user, group, rlimits, nice) can't be set: " + why;
    case os::SpawnStep::change_directory:
      return "its directory '" + request.directory + "' can't be entered: " + why;
    case os::SpawnStep::execute:
      return why + (failure.error == ENOENT && os::look_at(request.program).kind == os::FileKind::none
                        ? "; the file has been removed"
                        : launch::hint_for(failure.error, request.program));
    default:
      return why;
  }
}

}  // namespace

Program::Program(Host& host, const os::SpawnRequest& request, Stdin input)
    : host_(host), limit_(host.plan().max_output) {
  os::Pipe in, out = os::make_pipe(), err = os::make_pipe();
  os::SpawnRequest asked = request;
  if (input == Stdin::pipe) {
    in = os::make_pipe();
    asked.fds.push_back({in.read_end.get(), kStdin});
  }
  asked.fds.push_back({out.write_end.get(), kStdout});
  asked.fds.push_back({err.write_end.get(), kStderr});
  auto made = os::spawn_when_written(asked.program, [&] { return asked; });
  if (const auto* failure = std::get_if<os::SpawnFailure>(&made))
    throw Error(naming(host.plan()) + " could not be started: " + why_not(*failure, request));
  child_ = std::move(std::get<os::Child>(made));
  group_ = child_.pid();
  in_ = std::move(in.write_end);
  out_ = std::move(out.read_end);
  err_ = std::move(err.read_end);
  if (in_) os::set_nonblocking(in_.get());
  os::set_nonblocking(out_.get());
  os::set_nonblocking(err_.get());
  Loop& loop = host_.loop();
  out_watch_ = loop.watch(out_.get(), EPOLLIN, [this](std::uint32_t) { read_output(); });
  err_watch_ = loop.watch(err_.get(), EPOLLIN, [this](std::uint32_t) { read_errors(); });
  end_watch_ = loop.watch(child_.pidfd(), EPOLLIN, [this](std::uint32_t) { note_end(); });
}

Program::~Program() {
  kill_group();
  (void)child_.kill_and_reap();
}

// ---- Stdin

void Program::write(std::string text) {
  if (!in_ || closes_input_) return;
  if (written_ == input_.size()) {
    input_ = std::move(text);
    written_ = 0;
  } else {
    input_.append(text);
  }
  put_input();
}

void Program::close_input() {
  closes_input_ = true;
  put_input();
}

void Program::put_input() {
  if (!in_) return;
  std::string_view rest = std::string_view(input_).substr(written_);
  os::PutResult result = os::PutResult::gone;
  try {
    result = os::put_some(in_.get(), rest);
  } catch (const SystemError& error) {
    host_.complain(naming(host_.plan()) + ": " + error.what());
  }
  written_ = input_.size() - rest.size();
  if (result == os::PutResult::later) {
    if (!in_watch_)
      in_watch_ = host_.loop().watch(in_.get(), EPOLLOUT, [this](std::uint32_t) { put_input(); });
    return;
  }
  in_watch_.stop();
  constexpr std::size_t kKeptCapacity = 64UL * 1024;
  if (input_.capacity() > kKeptCapacity) input_ = {};
  input_.clear();
  written_ = 0;
  if (closes_input_ || result == os::PutResult::gone) in_.reset();
}

// ---- Stdout and stderr

void Program::read_output() {
  host_.wake();
  for (std::size_t before = output_.size(), end = before + kMostAtOnce; output_.size() < end;) {
    if (has_too_much_output()) {
      out_watch_.want(0);
      return;
    }
    before = output_.size();
    auto result = os::ReadResult::end;
    try {
      result = os::read_some(out_.get(), output_, kPiece, "the output of a program");
    } catch (const SystemError& error) {
      host_.complain(naming(host_.plan()) + ": " + error.what());
    }
    if (result == os::ReadResult::end) {
      out_watch_.stop();
      out_.reset();
      return;
    }
    // A pipe with fewer bytes than asked for is empty now; the loop reports the next ones.
    if (result == os::ReadResult::later || output_.size() - before < kPiece) return;
  }
}

void Program::drop_output(std::size_t count) {
  const bool was_full = has_too_much_output();
  taken_ += count;
  if (taken_ == output_.size() || taken_ > kMostAtOnce) {
    output_.erase(0, taken_);
    taken_ = 0;
  }
  if (was_full && !has_too_much_output() && out_) out_watch_.want(EPOLLIN);
}

std::string Program::take_output() {
  std::string all = std::move(output_);
  all.erase(0, std::exchange(taken_, 0));
  output_.clear();
  return all;
}

void Program::read_errors() {
  for (std::size_t total = 0; total < kMostAtOnce;) {
    std::string piece;
    auto result = os::ReadResult::end;
    try {
      result = os::read_some(err_.get(), piece, kPiece, "stderr of a program");
    } catch (const SystemError& error) {
      host_.complain(naming(host_.plan()) + ": " + error.what());
    }
    if (result == os::ReadResult::end) {
      err_watch_.stop();
      err_.reset();
      return;
    }
    host_.error_log().write(piece);
    note_words(piece);
    if (on_errors_ && !piece.empty()) {
      on_errors_(piece);
      host_.wake();
    }
    total += piece.size();
    if (piece.size() < kPiece) return;
  }
}

void Program::note_words(std::string_view text) {
  words_.append(text);
  if (words_.size() > 2 * kKeptWords) words_.erase(0, words_.size() - kKeptWords);
}

std::string Program::last_words() const {
  const std::string words = wire::last_words(words_);
  return words.empty() ? "" : "; its last words: " + words;
}

// ---- The end

void Program::note_end() {
  (void)child_.try_reap();
  end_watch_.stop();
  // All that the process has written is in the pipes. Other processes may keep them open: their output does not count.
  for (std::size_t before = output_.size() + 1; out_ && output_.size() != before && !has_too_much_output();) {
    before = output_.size();
    read_output();
  }
  if (err_) read_errors();
  ended_ = true;
  in_watch_.stop();
  in_.reset();
  host_.wake();
}

std::string Program::describe_end(std::string_view when) const {
  return (status() ? status()->describe() : std::string("has ended")).append(when) + last_words();
}

void Program::stop() {
  if (ended_ || kill_timer_) return;
  if (!os::signal_group_of_child(group_, SIGTERM)) (void)child_.signal(SIGTERM);
  kill_timer_ = host_.loop().at(os::from_now(host_.plan().grace), [this] { kill_group(); });
}

void Program::kill_group() noexcept {
  if (group_ > 0) (void)os::signal_group_of_child(group_, SIGKILL);
}

}  // namespace ipcm::command
