#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

// The interface between the library and a database driver. A driver is a shared module, loaded when a bus
// needs it: the client libraries of databases are large, and most services never use them. Both sides share
// only this header; it depends on the standard library alone. No exception crosses it.
//
// A module exports one function with C linkage, kDriverEntry, of type DriverEntry.

namespace ipcm::database {

/// The version of this header. Modules of other versions are not used.
inline constexpr int kDriverVersion = 3;
inline constexpr const char* kDriverEntry = "ipcm_database_driver";
/// In milliseconds.
inline constexpr std::int64_t kLongestSilence = 10'000;

/// Bytes, where std::string stands for text.
struct Blob {
  std::string bytes;
  friend bool operator==(const Blob&, const Blob&) = default;
};
/// monostate is NULL.
using Value = std::variant<std::monostate, std::int64_t, double, std::string, Blob>;
using Values = std::vector<Value>;
/// The type in which a column of an answer is returned.
enum class Column { integer, real, text, blob };

struct Failure {
  enum class Kind {
    none,
    busy,      ///< another process holds the lock: try again
    aborted,   ///< a deadlock: the database undid this transaction for the sake of another; repeat it
    late,      ///< the server has not answered in time; it may still execute the statement
    conflict,  ///< a constraint forbids it
    missing,   ///< no such table, or no such column in it
    too_long,  ///< a column is too short for a value
    lost,      ///< the connection, or the store itself, is gone
    other
  };
  Kind kind = Kind::none;
  std::string text;  ///< The message of the database; contains no statement, no value, no password.
  [[nodiscard]] explicit operator bool() const { return kind != Kind::none; }
};

struct Result {
  Failure failure;
  std::vector<Values> rows;
  std::int64_t affected = 0;  ///< Rows that were changed.
};

/// One connection. It belongs to one thread at a time, and to the process that opened it: a forked child
/// must neither use nor destroy it.
class Session {
 public:
  virtual ~Session() = default;
  /// Runs one statement. Its parameters are `:name`, and get the values of `given` by position; values are
  /// never part of the statement's text. A text that holds a NUL is refused. `columns`: what the answer has;
  /// none for statements that have no answer.
  [[nodiscard]] virtual Result run(const std::string& statement, const Values& given,
                                   const std::vector<Column>& columns) noexcept = 0;
  [[nodiscard]] virtual Failure begin() noexcept = 0;
  [[nodiscard]] virtual Failure commit() noexcept = 0;
  virtual void rollback() noexcept = 0;
  /// Sets how long one statement may take from now on, in milliseconds: `locked`, waiting for a lock of
  /// another process, if the client waits for that; `answer`, waiting for the server. If the server has not
  /// answered by then, run() fails as `late`. The statement is not cancelled: until finish_late() has
  /// returned its result, run() fails as `busy` and sends nothing. A connection is `lost` when the server
  /// has not answered for kLongestSilence, or when it is late inside a transaction, since nothing else
  /// undoes half a transaction.
  virtual void be_patient(std::int64_t locked, std::int64_t answer) noexcept = 0;
  /// Waits at most `limit` milliseconds for the answer to the statement that was late, and returns its
  /// result. The failure `late`: there is no answer yet. If no statement was late, the result is empty.
  [[nodiscard]] virtual Result finish_late(std::int64_t /*limit*/) noexcept { return {}; }
  /// Returns the socket of the connection, borrowed: readable when the server has sent something. -1: there
  /// is none.
  [[nodiscard]] virtual int socket() const noexcept = 0;
  /// Returns the names of all channels that were notified since the last call, without waiting. A `failure`
  /// of kind lost: the server has closed the connection.
  [[nodiscard]] virtual std::vector<std::string> take_notifications(Failure& failure) noexcept = 0;
};

class Driver {
 public:
  virtual ~Driver() = default;
  [[nodiscard]] virtual const char* name() const noexcept = 0;
  /// Opens a session; null: see `failure`. The driver defines its parameters; see the dialects. Waits for a
  /// server at most `limit` milliseconds.
  [[nodiscard]] virtual std::unique_ptr<Session> open(const std::map<std::string, std::string>& parameters,
                                                      std::int64_t limit,
                                                      Failure& failure) const noexcept = 0;
};

/// Returns the driver of the module; null if it has another version.
using DriverEntry = const Driver* (*)(int version);

}  // namespace ipcm::database
