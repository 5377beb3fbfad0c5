#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

// What a database driver is to the library. A driver is a shared module of its own, loaded when a bus needs
// it: the client libraries of databases are heavy, and most services never use them. This header is all that
// the two sides share; it depends on the standard library only. Nothing throws across it.
//
// A module exports one function with C linkage, kDriverEntry, of type DriverEntry.

namespace ipcm::database {

/// Of this header. A module of another version is not used.
inline constexpr int kDriverVersion = 2;
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
/// What a column of an answer is to be read as.
enum class Column { integer, real, text, blob };

struct Failure {
  enum class Kind {
    none,
    busy,      ///< somebody else has locked what we need: try again
    late,      ///< the server has not answered in time; what it was asked to do may still be done
    conflict,  ///< a constraint forbids it
    missing,   ///< no such table, or no such column in it
    too_long,  ///< a column is too short for a value
    lost,      ///< the connection, or the store itself, is gone
    other
  };
  Kind kind = Kind::none;
  std::string text;  ///< The database's words; holds no statement, no value, no password.
  [[nodiscard]] explicit operator bool() const { return kind != Kind::none; }
};

struct Result {
  Failure failure;
  std::vector<Values> rows;
  std::int64_t affected = 0;  ///< Rows that were changed.
};

/// One connection. Belongs to one thread at a time, and to the process that opened it: in a forked child it
/// must not be used, nor destroyed.
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
  /// How long one statement may take from now on, in milliseconds: waiting for somebody else's lock, where
  /// the client does that waiting; and waiting for a server's answer. When the server has not answered by
  /// then, run() fails as `late`. The statement is not taken back: the next call waits for its answer first,
  /// and drops it. A connection is `lost` when the server has not answered for kLongestSilence, and, since
  /// nothing else undoes the half of a transaction, when it is late inside of one.
  virtual void be_patient(std::int64_t locked, std::int64_t answer) noexcept = 0;
  /// The connection's socket, borrowed: readable when the server has something to say. -1: there is none.
  [[nodiscard]] virtual int socket() const noexcept = 0;
  /// The names of all channels that were notified since the last call, without waiting. A `failure` of kind
  /// lost: the server has hung up.
  [[nodiscard]] virtual std::vector<std::string> take_notifications(Failure& failure) noexcept = 0;
};

class Driver {
 public:
  virtual ~Driver() = default;
  [[nodiscard]] virtual const char* name() const noexcept = 0;
  /// Opens a session. Null: `failure` tells. What parameters there are is the driver's business; see the
  /// dialects. Waits for a server at most as long as `limit` says, in milliseconds.
  [[nodiscard]] virtual std::unique_ptr<Session> open(const std::map<std::string, std::string>& parameters,
                                                      std::int64_t limit,
                                                      Failure& failure) const noexcept = 0;
};

/// The module's one driver; null if it is not of that version.
using DriverEntry = const Driver* (*)(int version);

}  // namespace ipcm::database
