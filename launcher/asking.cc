#include "asking.h"

#include <iterator>
#include <utility>

#include "report.h"

namespace ipcm::launcher {
namespace {

constexpr std::size_t kWindowBytes = 8UL * 1024 * 1024;

}  // namespace

Asking::Asking(const Options& options, Loop& loop, std::string peer, std::vector<Content> requests,
               std::size_t most, Send send)
    : options_(options),
      loop_(loop),
      peer_(std::move(peer)),
      requests_(std::make_move_iterator(requests.begin()), std::make_move_iterator(requests.end())),
      from_stdin_(requests_.empty()),
      most_(most),
      send_(std::move(send)) {
  if (from_stdin_) lines_.emplace(loop_);
}

void Asking::ask_all() {
  while (!stopped_ && !over_) {
    send_more();
    if (print_ready() && !over_) continue;  // there is room again, and lines may be buffered
    if (over_ || (slots_.empty() && requests_.empty() && (!lines_ || lines_->at_end()))) break;
    const os::Deadline deadline = slots_.empty() ? os::Deadline::never() : slots_.front()->deadline;
    const bool reads_on = lines_ && lines_->is_ready() && has_room();
    if (!loop_.turn(reads_on ? os::Deadline::passed() : deadline) && deadline.has_passed() &&
        !slots_.front()->is_over())
      slots_.front()->failed = std::make_exception_ptr(Timeout(
          naming(*slots_.front()) + ": '" + peer_ + "' has not answered within the time given by --timeout"));
  }
  flush_output();
  if (input_lost_) std::rethrow_exception(input_lost_);
}

std::string Asking::naming(const Slot& slot) const {
  return from_stdin_ ? "line " + std::to_string(slot.number) + " of stdin"
                     : "request " + std::to_string(slot.number);
}

bool Asking::has_room() const { return slots_.size() < most_ && bytes_ < kWindowBytes; }

void Asking::send_more() {
  while (has_room()) {
    if (!requests_.empty()) {
      const Content request = std::move(requests_.front());
      requests_.pop_front();
      ask(add_slot(), request);
    } else if (!read_line()) {
      return;
    }
  }
}

Asking::SharedSlot Asking::add_slot() {
  // Shared with the callback, which may run after the deadline of the request.
  slots_.push_back(std::make_shared<Slot>());
  slots_.back()->number = ++asked_;
  return slots_.back();
}

void Asking::ask(const SharedSlot& slot, const Content& request) {
  slot->bytes = request.json().size();
  slot->deadline = os::Deadline::limit(options_.limit(kNoLimit));
  bytes_ += slot->bytes;
  try {
    send_(request, [slot](const Response& response) { slot->response = response; });
  } catch (const Error&) {
    slot->failed = std::current_exception();  // too large, or the peer has ended
  }
}

/// Adds a slot for the next line of stdin, and so a line of output. Returns false if there is no line now.
bool Asking::read_line() {
  if (!lines_) return false;
  std::string line;
  LineReader::Next next = LineReader::Next::none;
  try {
    next = lines_->next(line);
  } catch (const Error&) {
    input_lost_ = std::current_exception();  // reported after all earlier lines have been answered
    lines_.reset();
  }
  if (next == LineReader::Next::none) return false;
  const SharedSlot slot = add_slot();
  const std::string name = naming(*slot);
  try {
    if (next == LineReader::Next::too_long) throw UsageError(name + " is longer than 64 MiB");
    slot->blank = line.find_first_not_of(" \t\r") == std::string::npos;
    if (!slot->blank) ask(slot, options_.program.raw ? Content(line) : json_from(line, name, slot->number));
  } catch (const Error&) {  // no JSON; with --raw, no UTF-8
    slot->failed = std::current_exception();
  }
  return true;
}

/// Prints the first slots that are over. Returns whether there were any.
bool Asking::print_ready() {
  const std::size_t before = slots_.size();
  while (!slots_.empty() && slots_.front()->is_over() && !over_) {
    const SharedSlot slot = std::move(slots_.front());
    slots_.pop_front();
    bytes_ -= slot->bytes;
    print(*slot);
  }
  const bool done = slots_.size() < before;
  if (done && (slots_.empty() || from_stdin_)) flush_output();
  return done;
}

void Asking::print(const Slot& slot) {
  try {
    if (slot.blank) return print_text("\n");
    if (slot.failed) std::rethrow_exception(slot.failed);
    print_answer(*slot.response);
    ++answered_;
  } catch (const OutputLost&) {
    throw;
  } catch (const Error&) {
    tell_failure(slot);
  }
}

/// Reports the failure of one request. Further requests are still sent, unless the requests are words of
/// the command line and the service has gone. Call it inside a catch block.
void Asking::tell_failure(const Slot& slot) {
  Verdict verdict = understand_error();
  if (status_ == Status::done) status_ = verdict.status;
  if (verdict.message.find(naming(slot)) == std::string::npos) verdict.message += " (" + naming(slot) + ")";
  if (verdict.kind == "gone" && !std::exchange(has_gone_, true))  // only once
    verdict.message += last_words(options_, peer_);
  if (!from_stdin_) {
    flush_output();
    (void)report(options_, verdict);
    over_ = verdict.status == Status::gone;  // no service is left
  } else if (options_.json) {
    print_json(verdict.json(slot.number));
  } else {
    print_text("\n");
    flush_output();
    (void)report(options_, verdict);
  }
}

}  // namespace ipcm::launcher
