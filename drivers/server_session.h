#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "transport/database/driver.h"

namespace ipcm::drivers {

using database::Blob;
using database::Column;
using database::Failure;
using database::Result;
using database::Value;
using database::Values;

using Clock = std::chrono::steady_clock;

/// What sessions on servers share: each statement has a time limit, and finish_late() reads an answer that
/// comes later. (SOCI waits for an answer without a limit, so these drivers use the servers' own client
/// libraries.)
class ServerSession : public database::Session {
 public:
  Result run(const std::string& statement, const Values& given,
             const std::vector<Column>& columns) noexcept final;
  Failure begin() noexcept final;
  Failure commit() noexcept final;
  void rollback() noexcept final;
  void be_patient(std::int64_t /*locked*/, std::int64_t answer) noexcept final {
    answer_ = std::chrono::milliseconds(answer);
  }
  Result finish_late(std::int64_t limit) noexcept final;

 protected:
  enum class Step { done, late };
  /// Hands a statement to the client library. A failure: nothing was sent.
  virtual Failure send(const std::string& statement, const Values& given) = 0;
  /// Waits for the whole answer to what was sent last. After late it is called again.
  virtual Step await(Clock::time_point deadline) = 0;
  /// Returns the answer that await() has received.
  virtual Result take(const std::vector<Column>& columns) = 0;
  /// Whether the client library knows that the connection has ended.
  [[nodiscard]] virtual bool is_cut() const = 0;
  /// Ends the connection, without waiting for anything.
  virtual void cut() noexcept = 0;

 private:
  Result attempt(const std::string& statement, const Values& given, const std::vector<Column>& columns);
  [[nodiscard]] Failure note_late();

  std::chrono::milliseconds answer_{database::kLongestSilence};
  bool is_late_ = false;              // the answer to the last statement is outstanding
  std::vector<Column> late_columns_;  // of that answer
  bool in_transaction_ = false;
  Clock::time_point asked_{};  // when the last statement was sent
};

/// Waits until a socket has one of these poll() events. 0: the deadline came first; -1: it can't be waited
/// for.
[[nodiscard]] int wait_for_socket(int fd, short events, Clock::time_point deadline) noexcept;

/// Copies a statement; where it has a parameter `:name` outside of quotes, calls `put` with the number of
/// the parameter, from 0, to append what stands for it.
void replace_parameters(std::string_view statement, std::string& into,
                        const std::function<void(std::size_t number)>& put);

/// Numbers in the form that does not depend on the locale.
[[nodiscard]] std::string text_of(std::int64_t number);
[[nodiscard]] std::string text_of(double number);
/// A value of an answer, from its text.
[[nodiscard]] Value value_of(std::string_view text, Column column);

/// An error's words in one line, without a secret that may be in them.
[[nodiscard]] std::string in_one_line(std::string words, const std::string& secret = {});

}  // namespace ipcm::drivers
