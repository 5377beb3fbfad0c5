#include "transport/database/store.h"

#include <algorithm>
#include <limits>

namespace ipcm::database {
namespace {

/// The time that the server may take for an answer: inside the loop, which has other callbacks to run; and
/// the minimum, whatever the limit of the caller, since no statement could work close to that limit.
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
  session_ = connect_();
  is_late_ = false;
  after_reopen();
}

void Store::limit_next_statement() {
  const int locked = milliseconds_until(patient_until_);
  // The loop does not wait for a server that was late at the last statement: it asks again and again.
  const bool waits = !is_late_ || locked > 0;
  const int answer = std::min(std::max(locked, kLoopAnswer), milliseconds_until(os::TimeLimit::current()));
  session_->be_patient(locked, waits ? std::max(answer, kShortestAnswer) : 0);
}

Result Store::run(const std::string& statement, const Values& given, const std::vector<Column>& columns) {
  for (;;) {
    if (!session_) fail({Failure::Kind::lost, "there is no connection"});
    limit_next_statement();
    Result result = session_->run(statement, given, columns);
    after_statement();
    is_late_ = result.failure.kind == Failure::Kind::late;
    // The server waits only a moment for a lock of another process, so that this member can stop when it
    // wants to.
    if (result.failure.kind != Failure::Kind::busy || in_transaction_ || patient_until_.has_passed())
      return result;
  }
}

std::vector<Values> Store::query(const std::string& statement, const Values& given,
                                 const std::vector<Column>& columns) {
  Result result = run(statement, given, columns);
  if (result.failure) fail(result.failure);
  return std::move(result.rows);
}

std::int64_t Store::execute(const std::string& statement, const Values& given) {
  const Result result = run(statement, given, {});
  if (result.failure) fail(result.failure);
  return result.affected;
}

void Store::in_transaction(const std::function<void()>& what) {
  for (int attempt = 1;; ++attempt) {
    if (!session_) fail({Failure::Kind::lost, "there is no connection"});
    limit_next_statement();
    Failure failure = session_->begin();
    if (!failure) {
      in_transaction_ = true;
      try {
        what();
        failure = session_->commit();
      } catch (const StoreError& error) {
        in_transaction_ = false;
        session_->rollback();
        if (error.kind() != Failure::Kind::busy ||
            (attempt >= dialect().attempts && patient_until_.has_passed()))
          throw;
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
    if (failure.kind != Failure::Kind::busy || (attempt >= dialect().attempts && patient_until_.has_passed()))
      fail(failure);
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
