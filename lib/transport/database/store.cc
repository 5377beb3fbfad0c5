#include "transport/database/store.h"

#include <limits>

namespace ipcm::database {

void Store::fail(const Failure& failure) const {
  std::string text = "the bus at " + where() + ": " + failure.text;
  if (failure.kind == Failure::Kind::missing)
    text += " (its tables are gone: its owner may have taken it down)";
  throw StoreError(failure.kind, text);
}

std::vector<Values> Store::query(const std::string& statement, const Values& given,
                                 const std::vector<Column>& columns) {
  Result result = session_->run(statement, given, columns);
  after_statement();
  check(result.failure);
  return std::move(result.rows);
}

std::int64_t Store::execute(const std::string& statement, const Values& given) {
  const Result result = session_->run(statement, given, {});
  after_statement();
  check(result.failure);
  return result.affected;
}

void Store::in_transaction(const std::function<void()>& what) {
  for (int attempt = 1;; ++attempt) {
    check(session_->begin());
    Failure failure;
    try {
      what();
      failure = session_->commit();
      if (!failure) break;
      session_->rollback();
    } catch (const StoreError& error) {
      session_->rollback();
      if (error.kind() != Failure::Kind::busy || attempt >= dialect().attempts) throw;
      continue;
    } catch (...) {
      session_->rollback();
      throw;
    }
    if (failure.kind != Failure::Kind::busy || attempt >= dialect().attempts) fail(failure);
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
