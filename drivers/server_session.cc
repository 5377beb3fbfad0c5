#include "server_session.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <exception>
#include <utility>

namespace ipcm::drivers {
namespace {

/// A transaction gets this long for an answer, whatever the limit is: being late inside of one costs the
/// connection.
constexpr std::chrono::milliseconds kShortestInTransaction{1000};
/// For the words that undo a transaction.
constexpr std::chrono::milliseconds kUndoTime{1000};
constexpr std::chrono::milliseconds kSilence{database::kLongestSilence};

Failure lost(const char* why) { return {Failure::Kind::lost, why}; }

}  // namespace

Failure ServerSession::note_late() {
  is_late_ = true;
  if (!in_transaction_ && Clock::now() - asked_ < kSilence)
    return {Failure::Kind::late, "the server has not answered in time"};
  cut();
  return lost("the server does not answer; the connection was given up");
}

Result ServerSession::finish_late(std::int64_t limit) noexcept {
  try {
    if (!is_late_) return {};
    if (is_cut()) return {lost("the connection to the server has ended"), {}, 0};
    if (await(Clock::now() + std::chrono::milliseconds(limit)) == Step::late) return {note_late(), {}, 0};
    is_late_ = false;
    return take(late_columns_);
  } catch (const std::exception& error) {
    return {{Failure::Kind::other, error.what()}, {}, 0};
  }
}

Result ServerSession::attempt(const std::string& statement, const Values& given,
                              const std::vector<Column>& columns) {
  Result result;
  if (is_cut()) {
    result.failure = lost("the connection to the server has ended");
    return result;
  }
  if (is_late_) {
    result.failure = {Failure::Kind::busy, "the server has not answered the statement before"};
    return result;
  }
  const auto answer = in_transaction_ ? std::max(answer_, kShortestInTransaction) : answer_;
  asked_ = Clock::now();
  result.failure = send(statement, given);
  if (result.failure) return result;
  if (await(asked_ + answer) == Step::late) {
    late_columns_ = columns;
    result.failure = note_late();
    return result;
  }
  return take(columns);
}

Result ServerSession::run(const std::string& statement, const Values& given,
                          const std::vector<Column>& columns) noexcept {
  try {
    for (const Value& value : given)
      if (const auto* text = std::get_if<std::string>(&value);
          text != nullptr && text->find('\0') != text->npos)
        return {{Failure::Kind::other, "a text with a NUL in it was refused"}, {}, 0};
    Result result = attempt(statement, given, columns);
    if (result.failure) result.rows.clear();
    return result;
  } catch (const std::exception& error) {
    return {{Failure::Kind::other, error.what()}, {}, 0};
  }
}

Failure ServerSession::begin() noexcept {
  in_transaction_ = true;
  Failure failure = run("BEGIN", {}, {}).failure;
  if (failure) in_transaction_ = false;
  return failure;
}

Failure ServerSession::commit() noexcept {
  Failure failure = run("COMMIT", {}, {}).failure;
  if (!failure) in_transaction_ = false;
  return failure;
}

void ServerSession::rollback() noexcept {
  const auto before = std::exchange(answer_, kUndoTime);
  (void)run("ROLLBACK", {}, {});
  answer_ = before;
  in_transaction_ = false;
}

int wait_for_socket(int fd, short events, Clock::time_point deadline) noexcept {
  for (;;) {
    pollfd one{fd, events, 0};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    const int ready = ::poll(&one, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000)));
    if (ready > 0) return one.revents;
    if (ready < 0 && errno != EINTR) return -1;
    if (Clock::now() >= deadline) return 0;
  }
}

void replace_parameters(std::string_view statement, std::string& into,
                        const std::function<void(std::size_t number)>& put) {
  const auto is_of_name = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  std::size_t number = 0;
  char quote = 0;
  for (std::size_t at = 0; at < statement.size(); ++at) {
    const char c = statement[at];
    if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '\'' || c == '"') {
      quote = c;
    } else if (c == ':' && at + 1 < statement.size() && is_of_name(statement[at + 1])) {
      while (at + 1 < statement.size() && is_of_name(statement[at + 1])) ++at;
      put(number++);
      continue;
    }
    into.push_back(c);
  }
}

std::string text_of(std::int64_t number) { return std::to_string(number); }

std::string text_of(double number) {
  std::array<char, 40> text{};
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), number, std::chars_format::scientific);
  return {text.data(), end.ptr};
}

Value value_of(std::string_view text, Column column) {
  const auto read = [&](auto number) -> Value {
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
  };
  switch (column) {
    case Column::integer:
      return read(std::int64_t{0});
    case Column::real:
      return read(0.0);
    case Column::text:
      return std::string(text);
    case Column::blob:
      return Blob{std::string(text)};
  }
  return {};
}

std::string in_one_line(std::string words, const std::string& secret) {
  for (char& c : words)
    if (c == '\n' || c == '\r' || c == '\t') c = ' ';
  while (words.ends_with(' ')) words.pop_back();
  if (secret.empty()) return words;
  for (auto at = words.find(secret); at != std::string::npos; at = words.find(secret, at + 3))
    words.replace(at, secret.size(), "***");
  return words;
}

}  // namespace ipcm::drivers
