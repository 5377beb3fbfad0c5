#include "transport/database/store.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace ipcm::database {
namespace {

/// The time that the server may take for an answer: inside the loop, which has other callbacks to run; and
/// the minimum, whatever the limit of the caller, since no statement could work close to that limit. The
/// minimum also holds inside the loop after a statement that had to wait.
constexpr int kLoopAnswer = 1000, kShortestAnswer = 100;

int milliseconds_until(os::Deadline deadline) {
  const int left = deadline.poll_timeout();
  return left < 0 ? static_cast<int>(kLongestSilence) : left;
}

}  // namespace

void Store::fail(const Failure& failure) const {
  std::string text = "the bus at " + where() + ": " + failure.text;
  if (failure.kind == Failure::Kind::missing)
    text += " (its tables are gone: its owner may have taken it down)";
  throw StoreError(failure.kind, text);
}

void Store::reopen() {
  before_reopen();
  session_.close();
  if (const auto late = std::exchange(late_, std::nullopt); late && late->result)
    late->result({{Failure::Kind::lost, "the connection was cut before the server answered"}, {}, 0});
  is_slow_ = false;
  session_ = connect_();
  after_reopen();
}

int Store::answer_limit() const {
  const int longest = std::max(milliseconds_until(patient_until_), is_slow_ ? kShortestAnswer : kLoopAnswer);
  return std::max(std::min(longest, milliseconds_until(os::TimeLimit::current())), kShortestAnswer);
}

void Store::limit_next_statement() {
  session_->be_patient(milliseconds_until(patient_until_), answer_limit());
}

void Store::note(const Failure& failure) {
  is_slow_ = failure.kind == Failure::Kind::late || failure.kind == Failure::Kind::busy;
}

Result Store::read_late() {
  // The loop does not wait for an answer that was late: it asks for it again and again.
  Result result = session_->finish_late(patient_until_.has_passed() ? 0 : answer_limit());
  after_statement();
  if (result.failure.kind == Failure::Kind::late) {
    result.failure.kind = Failure::Kind::busy;
    return result;
  }
  note(result.failure);
  if (const LateStatement answered = *std::exchange(late_, std::nullopt); answered.result)
    answered.result(result);
  return result;
}

bool Store::repeats(Failure::Kind kind, int attempt) const {
  // An aborted transaction has lost no time: it is worth another attempt even without patience.
  if (kind == Failure::Kind::aborted && attempt < dialect().attempts) return true;
  return (kind == Failure::Kind::busy || kind == Failure::Kind::aborted) && !patient_until_.has_passed();
}

void Store::finish_late() {
  if (!session_) fail({Failure::Kind::lost, "there is no connection"});
  if (!late_) return;
  const Result result = read_late();
  if (late_ || result.failure.kind == Failure::Kind::lost) fail(result.failure);
}

Result Store::attempt(const std::string& statement, const Values& given, const std::vector<Column>& columns) {
  if (late_) {
    // A caller that repeats the very query gets the answer to it. Otherwise a member would never read
    // anything from a server that needs longer than the limit for each answer.
    const bool same = !columns.empty() && late_->text == statement && late_->given == given;
    Result result = read_late();
    if (late_ || same || result.failure.kind == Failure::Kind::lost) return result;
  }
  limit_next_statement();
  Result result = session_->run(statement, given, columns);
  after_statement();
  note(result.failure);
  if (result.failure.kind == Failure::Kind::late) late_ = {statement, columns.empty() ? Values{} : given, {}};
  return result;
}

Result Store::run(const std::string& statement, const Values& given, const std::vector<Column>& columns) {
  for (int count = 1;; ++count) {
    if (!session_) fail({Failure::Kind::lost, "there is no connection"});
    Result result = attempt(statement, given, columns);
    // The server waits only a moment for a lock of another process, so that this member can stop when it
    // wants to.
    if (in_transaction_ || !repeats(result.failure.kind, count)) return result;
  }
}

std::vector<Values> Store::query(const std::string& statement, const Values& given,
                                 const std::vector<Column>& columns) {
  Result result = run(statement, given, columns);
  if (result.failure) fail(result.failure);
  return std::move(result.rows);
}

std::int64_t Store::execute(const std::string& statement, const Values& given, LateResult late) {
  const Result result = run(statement, given, {});
  if (late_ && result.failure.kind == Failure::Kind::late) late_->result = std::move(late);
  if (result.failure) fail(result.failure);
  return result.affected;
}

void Store::in_transaction(const std::function<void()>& what) {
  for (int attempt = 1;; ++attempt) {
    if (!session_) fail({Failure::Kind::lost, "there is no connection"});
    Failure failure = late_ ? read_late().failure : Failure{};
    if (!late_ && failure.kind != Failure::Kind::lost) {
      limit_next_statement();
      failure = session_->begin();
    }
    if (!failure) {
      in_transaction_ = true;
      try {
        what();
        failure = session_->commit();
      } catch (const StoreError& error) {
        in_transaction_ = false;
        session_->rollback();
        if (!repeats(error.kind(), attempt)) throw;
        continue;
      } catch (...) {
        in_transaction_ = false;
        session_->rollback();
        throw;
      }
      in_transaction_ = false;
      if (!failure) break;
      session_->rollback();
    }
    if (!repeats(failure.kind, attempt)) fail(failure);
  }
  after_statement();
}

std::string text_of(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* blob = std::get_if<Blob>(&value)) return blob->bytes;
  return {};
}

std::optional<std::int64_t> integer_of(const Value& value) {
  const auto* integer = std::get_if<std::int64_t>(&value);
  return integer != nullptr ? std::optional<std::int64_t>(*integer) : std::nullopt;
}

std::optional<double> real_of(const Value& value) {
  const auto* real = std::get_if<double>(&value);
  return real != nullptr ? std::optional<double>(*real) : std::nullopt;
}

Pid pid_of(const Value& value) {
  const auto number = integer_of(value).value_or(0);
  return number > 0 && number <= std::numeric_limits<Pid>::max() ? static_cast<Pid>(number) : 0;
}

std::string placeholders(std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text.append(i == 0 ? ":p" : ", :p").append(std::to_string(i));
  return text;
}

}  // namespace ipcm::database
