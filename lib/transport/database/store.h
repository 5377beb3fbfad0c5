#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ipcm/error.h"
#include "loop/loop.h"
#include "os/time_limit.h"
#include "transport/database/drivers.h"
#include "transport/file/sidecar.h"
#include "transport/presence/lock_file.h"
#include "transport/presence/own_place.h"
#include "transport/transport.h"

namespace ipcm::database {

/// The database refused a statement, or cannot be reached. `kind` shows what callers can do.
class StoreError : public BusError {
 public:
  StoreError(Failure::Kind kind, const std::string& what) : BusError(what), kind_(kind) {}
  [[nodiscard]] Failure::Kind kind() const noexcept { return kind_; }
  /// Returns whether the tables are missing.
  [[nodiscard]] bool bus_is_gone() const noexcept { return kind_ == Failure::Kind::missing; }
  /// Returns whether the connection has ended; the bus may still exist.
  [[nodiscard]] bool is_cut() const noexcept { return kind_ == Failure::Kind::lost; }
  /// Returns whether another attempt may succeed: another process holds a lock, or the server is slow.
  [[nodiscard]] bool is_passing() const noexcept {
    return kind_ == Failure::Kind::busy || kind_ == Failure::Kind::late || kind_ == Failure::Kind::aborted;
  }

 private:
  Failure::Kind kind_;
};

/// The parts of SQL in which the kinds of databases differ. Everything else is the same.
struct Dialect {
  const char* id_as_text;         ///< ipcm_messages.id
  const char* broadcast_as_int;   ///< ipcm_messages.broadcast
  const char* content_of_odd_id;  ///< 1 for rows whose id cannot be a parameter; "0" if there are none
  const char* id_parameter;
  const char* content_parameter;
  const char* broadcast_parameter;
  const char* stamp_parameter;
  const char* stats_parameter;
  bool id_is_uuid;  ///< other ids can't be stored
  int attempts;     ///< the number of attempts at a transaction that the database aborts
};

/// One row of ipcm_peers, and the facts about its peer.
struct PeerRow {
  std::string id;    ///< as in the tables
  std::string name;  ///< real
  Pid pid = 0;       ///< 0: NULL
  double active = 0;
  bool is_active = false;  ///< `active` is not NULL
  std::optional<double> expires;
  std::optional<std::string> stats;
  transport::PeerFacts facts;  ///< only if it was requested
  bool is_held = false;        ///< it is a peer of ours on this machine, and its connection holds its lock
  bool dies_unseen = false;    ///< it has no lock to show its death: watch its process
};

/// Returns whether a peer in that state can be sent to.
[[nodiscard]] inline bool is_there(transport::PeerFacts::State state) {
  using State = transport::PeerFacts::State;
  return state == State::active || state == State::present || state == State::suspended;
}

/// One connection to the tables of a bus, and the further means of its kind of database: how to prove that
/// peers live, and how to wake members. Throws StoreError.
class Store {
 public:
  virtual ~Store() = default;
  [[nodiscard]] virtual const Dialect& dialect() const = 0;
  /// Returns the place of the bus, for people; contains no password.
  [[nodiscard]] virtual std::string where() const = 0;

  [[nodiscard]] std::vector<Values> query(const std::string& statement, const Values& given,
                                          const std::vector<Column>& columns);
  /// Called once, with the result of a statement that was late: its number of changed rows, or its failure.
  using LateResult = std::function<void(const Result& result)>;
  /// Returns the number of rows that it has changed. If it throws StoreError of kind late, the server may
  /// still execute the statement: `late` is called inside the call that reads the answer.
  std::int64_t execute(const std::string& statement, const Values& given = {}, LateResult late = {});
  /// Reads the answer to a statement that was late, if there was one. Throws StoreError of kind busy if the
  /// server has not sent it in time.
  void finish_late();
  /// Runs `what` in one transaction.
  void in_transaction(const std::function<void()>& what);
  /// Sets the deadline until which statements may wait for locks of others, from now on; passed: they do
  /// not wait.
  void be_patient(os::Deadline until) { patient_until_ = until; }
  [[nodiscard]] os::Deadline patience() const { return patient_until_; }

  /// Makes a new connection after a cut, and restores all watches on it. Throws StoreError; BusError if
  /// another bus has its place now.
  void reopen();
  /// Returns whether the lock of our name still holds, so that take_name() is not needed after reopen().
  [[nodiscard]] virtual bool holds_name() const = 0;
  [[nodiscard]] bool is_ours() const { return session_.is_ours(); }

  /// Returns the id of a peer in the tables; the name itself if it fits.
  [[nodiscard]] virtual std::string id_of(const std::string& name) const { return name; }
  /// Returns all rows, or that of one id. Without `judged`, only with the columns of the table.
  [[nodiscard]] virtual std::vector<PeerRow> rows(const std::string* id, bool judged = true) = 0;
  [[nodiscard]] std::optional<PeerRow> row(const std::string& id) {
    auto found = rows(&id);
    return found.empty() ? std::nullopt : std::optional<PeerRow>(std::move(found.front()));
  }

  /// Takes the lock that proves the presence of a peer. false: a living process has it.
  [[nodiscard]] virtual bool take_name(const PeerRow& who, const transport::PeerNote& note,
                                       transport::HeldLock::Attempt& attempt) = 0;
  /// Notes the holder of the name, in the transaction that makes its row.
  virtual void introduce(const PeerRow& /*who*/, const transport::PeerNote& /*note*/) {}
  virtual void drop_name() noexcept = 0;
  /// Runs `what` while no peer can take that name. Does nothing if a peer has it.
  virtual void while_nobody_has(const PeerRow& who, const std::function<bool()>& what) = 0;

  /// Calls `news` whenever messages may have come for that id.
  virtual void watch(Loop& loop, const std::string& id, std::function<void()> news) = 0;
  /// Calls `news` whenever a peer may have changed its row.
  virtual void watch_peers(Loop& loop, std::function<void()> news) = 0;
  /// Calls `news` when a peer may have died, where that shows.
  virtual void watch_deaths(Loop& /*loop*/, std::function<void()> /*news*/) {}
  /// Called each time the watched peers were read.
  virtual void looked_at(const std::vector<PeerRow>& /*rows*/) {}
  /// Called after each query for messages; `some`: there were some.
  virtual void took_in(bool /*some*/) {}
  /// Called after a message was sent: an answer may come.
  virtual void sent() {}
  /// Returns the limit of the server that this content exceeds, for people; empty: none.
  [[nodiscard]] virtual std::string exceeded_limit(const std::string& /*content*/) const { return {}; }
  /// Returns a proven pidfd of an active peer; empty: no proof is possible from here.
  [[nodiscard]] virtual os::UniqueFd process_of(const PeerRow& row) = 0;
  /// Returns whether the process that wrote a row is proven to have ended; for the process that has just
  /// got the lock of that name.
  [[nodiscard]] virtual bool is_leftover(Pid noted, const transport::HeldLock::Attempt& attempt) const {
    return transport::Sidecar::is_leftover(noted, attempt);
  }
  [[nodiscard]] virtual bool is_there() = 0;
  /// Notes the files that the member of that name depends on; watch_own_place() calls `lost`, inside the
  /// loop, when one of them is removed or replaced.
  virtual void note_own_place(Loop& /*loop*/, const std::string& /*name*/,
                              transport::OwnPlace::Lost /*lost*/) {}
  virtual void look_at_own_place() {}
  virtual void watch_own_place() {}
  [[nodiscard]] virtual transport::OwnerFacts owner() = 0;

 protected:
  using Connect = std::function<OwnedSession()>;
  /// `connect` throws StoreError.
  explicit Store(Connect connect) : session_(connect()), connect_(std::move(connect)) {}
  [[noreturn]] void fail(const Failure& failure) const;
  /// Called after each statement, to read notifications that came with the answer.
  virtual void after_statement() {}
  /// Called before a cut connection is closed.
  virtual void before_reopen() {}
  /// Called after a new connection was made.
  virtual void after_reopen() {}

  OwnedSession session_;

 private:
  /// A statement that was late.
  struct LateStatement {
    std::string text;
    Values given;  // only of a query
    LateResult result;
  };
  [[nodiscard]] Result run(const std::string& statement, const Values& given,
                           const std::vector<Column>& columns);
  [[nodiscard]] Result attempt(const std::string& statement, const Values& given,
                               const std::vector<Column>& columns);
  [[nodiscard]] int answer_limit() const;
  void limit_next_statement();
  /// Returns the result of the statement that was late; failure of kind busy: there is none yet.
  [[nodiscard]] Result read_late();
  void note(const Failure& failure);
  /// Returns whether a statement or transaction that failed is repeated.
  [[nodiscard]] bool repeats(Failure::Kind kind, int attempt) const;

  Connect connect_;
  os::Deadline patient_until_ = os::Deadline::passed();
  std::optional<LateStatement> late_;  // the server has not answered it yet
  bool is_slow_ = false;               // the last statement had to wait, for the server or for a lock
  bool in_transaction_ = false;
};

/// Calls `what`. Turns a failure into a Timeout if its only reason is the time limit of the caller.
template <class What>
auto within_limit(What&& what) {
  try {
    return what();
  } catch (const StoreError& error) {
    if (error.is_passing() && os::TimeLimit::current().has_passed()) throw Timeout(error.what());
    throw;
  }
}

[[nodiscard]] std::string text_of(const Value& value);
[[nodiscard]] std::optional<std::int64_t> integer_of(const Value& value);
[[nodiscard]] std::optional<double> real_of(const Value& value);
/// Returns a process id; 0 for an invalid one.
[[nodiscard]] Pid pid_of(const Value& value);
/// Returns `:a, :b, …` for a list of `count` values.
[[nodiscard]] std::string placeholders(std::size_t count);

}  // namespace ipcm::database
