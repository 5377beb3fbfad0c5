#include "launch/relay.h"

#include "ipcm/error.h"
#include "os/file_lock.h"
#include "os/pipe.h"
#include "os/process.h"
#include "os/signals.h"
#include "os/spawn.h"

namespace ipcm::launch {
namespace {

constexpr std::size_t kPiece = 16UL * 1024;

/// Writes all bytes. Returns false if the stream has no reader any more.
bool pass_on(const WordsTo::Number& to, const os::RollingLog& log, std::string_view bytes) {
  if (!to.is_log) return os::try_write_all(to.fd, bytes);
  log.append(bytes);
  return true;
}

void relay(int pipe, WordsTo::Number to, const std::string& held) {
  os::start_session();
  os::ignore_polite_signals();
  os::set_process_title("ipcm-relay");
  os::keep_only({pipe, to.fd});
  os::set_blocking(pipe);
  const os::RollingLog log(os::UniqueFd(to.is_log ? to.fd : -1));
  if (!pass_on(to, log, held)) return;
  std::string piece;
  while (os::read_some(pipe, piece, kPiece, "words of a service") == os::ReadResult::some) {
    if (!pass_on(to, log, piece)) return;
    piece.clear();
  }
}

/// Locks the log. It is called before the fork, so that a reader of the log of an ended service finds either
/// the lock or the complete output.
void note_writer(const WordsTo::Number& to) noexcept {
  try {
    if (to.is_log) (void)os::lock_whole_file(to.fd, os::LockKind::shared, os::Deadline::passed());
  } catch (const SystemError&) {  // readers of the log do not wait for the relay then
  }
}

}  // namespace

WordsTo WordsTo::stream(os::UniqueFd fd) {
  WordsTo to;
  to.stream_ = os::StreamWriter(std::move(fd));
  return to;
}

WordsTo WordsTo::log(os::UniqueFd fd) {
  WordsTo to;
  to.log_ = os::RollingLog(std::move(fd));
  return to;
}

std::size_t WordsTo::put(std::string_view bytes) noexcept {
  if (!log_) return stream_.put(bytes);
  log_.append(bytes);
  return bytes.size();
}

WordsTo::Number WordsTo::release() {
  const bool is_log = static_cast<bool>(log_);
  return {is_log ? log_.release() : stream_.release(), is_log};
}

void WordsTo::take_up(Number number) {
  if (number.is_log)
    log_ = os::RollingLog(os::UniqueFd(number.fd));
  else
    stream_.take_up(number.fd);
}

os::Child start_relay(os::UniqueFd& pipe, WordsTo& to, const std::string& held) {
  const int pipe_number = pipe.release();
  const auto to_number = to.release();
  const auto take_up = [&] {
    pipe = os::UniqueFd(pipe_number);
    to.take_up(to_number);
  };
  note_writer(to_number);
  std::optional<os::Child> child;
  try {
    child = os::fork_process();
  } catch (...) {
    take_up();
    throw;
  }
  if (child) {
    take_up();
    return std::move(*child);
  }
  os::discard_stdio();
  try {
    relay(pipe_number, to_number, held);
  } catch (const std::exception&) {  // the error has no receiver
  }
  os::leave_forked_process(0);
}

}  // namespace ipcm::launch
