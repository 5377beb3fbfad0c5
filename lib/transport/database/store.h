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

/// The database refused, or can't be reached. `kind` tells callers what they can do about it.
class StoreError : public BusError {
 public:
  StoreError(Failure::Kind kind, const std::string& what) : BusError(what), kind_(kind) {}
  [[nodiscard]] Failure::Kind kind() const noexcept { return kind_; }
  /// Its tables are not there.
  [[nodiscard]] bool bus_is_gone() const noexcept { return kind_ == Failure::Kind::missing; }
  /// The connection has ended; a new one may find the bus as it was.
  [[nodiscard]] bool is_cut() const noexcept { return kind_ == Failure::Kind::lost; }
  /// It may work another time: somebody has locked what is needed, or the server is slow.
  [[nodiscard]] bool is_passing() const noexcept {
    return kind_ == Failure::Kind::busy || kind_ == Failure::Kind::late;
  }

 private:
  Failure::Kind kind_;
};

/// How a kind of database spells what the statements of this protocol need. Everything else is the same SQL.
struct Dialect {
  const char* id_as_text;         ///< ipcm_messages.id
  const char* broadcast_as_int;   ///< ipcm_messages.broadcast
  const char* content_of_odd_id;  ///< 1 for rows whose id nobody can name; "0" where that can't be
  const char* id_parameter;
  const char* content_parameter;
  const char* broadcast_parameter;
  const char* stamp_parameter;
  const char* stats_parameter;
  bool id_is_uuid;  ///< other ids can't be stored
  int attempts;     ///< at a transaction that the database may end for the sake of another
};

/// One row of ipcm_peers, and what is known of who stands behind it.
struct PeerRow {
  std::string id;    ///< as the tables have it
  std::string name;  ///< real
  Pid pid = 0;       ///< 0: NULL
  double active = 0;
  bool is_active = false;  ///< `active` is not NULL
  std::optional<double> expires;
  std::optional<std::string> stats;
  transport::PeerFacts facts;  ///< unless it was not asked for
  bool is_held = false;        ///< it is one of ours on this machine, and its connection holds its lock
  bool dies_unseen = false;    ///< no lock of its tells of its death: watch its process
};

/// Whether a peer in that state is one of the bus, and can be sent to.
[[nodiscard]] inline bool is_there(transport::PeerFacts::State state) {
  using State = transport::PeerFacts::State;
  return state == State::active || state == State::present || state == State::suspended;
}

/// One connection to the tables of a bus, and what there is beside them: who is alive, and how one is woken.
/// Throws StoreError.
class Store {
 public:
  virtual ~Store() = default;
  [[nodiscard]] virtual const Dialect& dialect() const = 0;
  /// For people; holds no password.
  [[nodiscard]] virtual std::string where() const = 0;

  [[nodiscard]] std::vector<Values> query(const std::string& statement, const Values& given,
                                          const std::vector<Column>& columns);
  std::int64_t execute(const std::string& statement, const Values& given = {});
  /// All of it, or nothing.
  void in_transaction(const std::function<void()>& what);
  /// Until when statements may wait for somebody else's lock, from now on; passed: they do not wait.
  void be_patient(os::Deadline until) { patient_until_ = until; }
  [[nodiscard]] os::Deadline patience() const { return patient_until_; }

  /// After the connection was cut: makes a new one, on which everything that was watched is watched again.
  /// Throws StoreError; BusError where another bus stands there now.
  void reopen();
  /// Whether our name is locked still, so that take_name() is not needed again after reopen().
  [[nodiscard]] virtual bool holds_name() const = 0;
  [[nodiscard]] bool is_ours() const { return session_.is_ours(); }

  /// What the tables call a peer; the name itself wherever it fits.
  [[nodiscard]] virtual std::string id_of(const std::string& name) const { return name; }
  /// All rows, or that of one id. Without `judged`, only what the table says.
  [[nodiscard]] virtual std::vector<PeerRow> rows(const std::string* id, bool judged = true) = 0;
  [[nodiscard]] std::optional<PeerRow> row(const std::string& id) {
    auto found = rows(&id);
    return found.empty() ? std::nullopt : std::optional<PeerRow>(std::move(found.front()));
  }

  /// The lock that says that a peer lives. false: a live process has it.
  [[nodiscard]] virtual bool take_name(const PeerRow& who, const std::string& note,
                                       transport::HeldLock::Attempt& attempt) = 0;
  /// Notes, in the transaction that makes its row, who holds it.
  virtual void introduce(const PeerRow& /*who*/, const std::string& /*note*/) {}
  virtual void drop_name() noexcept = 0;
  /// Runs `what` while nobody can take that name. Does nothing if somebody has it.
  virtual void while_nobody_has(const PeerRow& who, const std::function<bool()>& what) = 0;

  /// Calls `news` whenever messages may have come for that id.
  virtual void watch(Loop& loop, const std::string& id, std::function<void()> news) = 0;
  /// Calls `news` whenever a peer may have changed its row.
  virtual void watch_peers(Loop& loop, std::function<void()> news) = 0;
  /// Calls `news` when a peer may have died, where that shows.
  virtual void watch_deaths(Loop& /*loop*/, std::function<void()> /*news*/) {}
  /// After each look at the peers while they are watched.
  virtual void looked_at(const std::vector<PeerRow>& /*rows*/) {}
  /// After each look for messages; `some`: there were some.
  virtual void took_in(bool /*some*/) {}
  /// After something was sent: an answer may come.
  virtual void sent() {}
  /// Bytes of content that one message may have; `why` says whose limit it is.
  [[nodiscard]] virtual bool can_hold(const std::string& /*content*/, std::string& /*why*/) const {
    return true;
  }
  /// A pidfd of the process of an active peer, where it is proven to be that; empty: it can't be, from here.
  [[nodiscard]] virtual os::UniqueFd process_of(const PeerRow& row) = 0;
  /// Whether the process that wrote a row is proven to have ended; for the process that has just got the lock
  /// of that name.
  [[nodiscard]] virtual bool is_leftover(Pid noted, const transport::HeldLock::Attempt& attempt) const {
    return transport::Sidecar::is_leftover(noted, attempt);
  }
  [[nodiscard]] virtual bool is_there() = 0;
  /// Calls `lost`, inside the loop, when a file that the member of that name depends on is removed or
  /// replaced; `report`: see OwnPlace.
  virtual void watch_own_place(Loop& /*loop*/, const std::string& /*name*/, transport::OwnPlace::Say /*lost*/,
                               transport::OwnPlace::Say /*report*/) {}
  [[nodiscard]] virtual transport::OwnerFacts owner() = 0;

 protected:
  using Connect = std::function<OwnedSession()>;
  /// `connect` throws StoreError.
  explicit Store(Connect connect) : session_(connect()), connect_(std::move(connect)) {}
  [[noreturn]] void fail(const Failure& failure) const;
  /// Called after each statement: what the server has told meanwhile must not be overlooked.
  virtual void after_statement() {}
  /// The connection is about to be closed, because it was cut.
  virtual void before_reopen() {}
  /// There is a new one.
  virtual void after_reopen() {}

  OwnedSession session_;

 private:
  [[nodiscard]] Result run(const std::string& statement, const Values& given,
                           const std::vector<Column>& columns);
  void limit_next_statement();

  Connect connect_;
  os::Deadline patient_until_ = os::Deadline::passed();
  bool is_late_ = false;  // the server: its answer to the last statement has not come yet
  bool in_transaction_ = false;
};

/// Calls `what`. What failed only because the caller's time was up is a Timeout.
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
/// A pid, or 0 for what can't be one.
[[nodiscard]] Pid pid_of(const Value& value);
/// `:a, :b, …`, for a list of `count`.
[[nodiscard]] std::string placeholders(std::size_t count);

}  // namespace ipcm::database
