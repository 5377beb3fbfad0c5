#pragma once

#include <functional>
#include <memory>
#include <string>

#include "transport/database/store.h"

namespace ipcm::database {

// The part that buses on database servers share. Beside the two tables of the reference stands one of ours,
// which peers of the reference do not know:
//
//   ipcm_ours(id, name, note, pid, host, lock_key)
//
// It is the mark of a bus. A database without it is a bus only if it has the two tables of the reference.
//
// It has one row for each member of ours: its real name (if that is too long for the other tables), its
// class, its process and machine, and the lock of the server that its connection holds. The lock ends with
// the connection, however the process dies, and other machines can see it. Rows whose id begins with `_`
// are no peers: `_owner` (its note: the start time of that process), `_made` if the bus has made the
// tables, and `_bus`, whose note is unique to this bus.

class ServerStore : public Store {
 public:
  [[nodiscard]] std::string where() const final { return route_; }
  [[nodiscard]] std::string id_of(const std::string& name) const final;
  [[nodiscard]] std::vector<PeerRow> rows(const std::string* id, bool judged) final;
  [[nodiscard]] bool take_name(const PeerRow& who, const transport::PeerNote& note,
                               transport::HeldLock::Attempt& attempt) final;
  void introduce(const PeerRow& who, const transport::PeerNote& note) final;
  void drop_name() noexcept final;
  [[nodiscard]] bool holds_name() const final { return name_lock_.has_value(); }
  void while_nobody_has(const PeerRow& who, const std::function<bool()>& what) final;
  [[nodiscard]] os::UniqueFd process_of(const PeerRow& row) final;
  [[nodiscard]] bool is_there() final { return true; }  // its statements show it
  [[nodiscard]] transport::OwnerFacts owner() final;

  /// Makes the missing tables. Throws BusError if a bus is running already.
  void make_tables();
  /// Throws BusError if there is no bus; adds our table to a bus of the reference.
  void expect_bus();
  /// Removes the tables that the bus has made. Throws BusError if there is no bus.
  void remove_tables();
  /// Takes a lock with a new key, and notes that key as the owner's.
  void own();
  void disown();

 protected:
  ServerStore(Connect connect, std::string route);
  void before_reopen() override { name_lock_.reset(); }
  void after_reopen() override;

  /// Returns a lock key in the form of the server, made of any text.
  [[nodiscard]] virtual Value lock_key(const std::string& text) = 0;
  [[nodiscard]] virtual bool lock(const Value& key, std::chrono::seconds patience) = 0;
  virtual void unlock(const Value& key) = 0;
  /// Returns the columns after those of ipcm_peers `p`: 1 if the lock of `o` is held. held_prefix() stands
  /// before SELECT.
  [[nodiscard]] virtual const char* held_expression() const = 0;
  [[nodiscard]] virtual const char* held_prefix() const { return ""; }
  [[nodiscard]] virtual std::vector<std::string> table_statements() = 0;
  [[nodiscard]] virtual std::string ours_statement() = 0;
  virtual void add_notices() {}  ///< Triggers, if the server can notify.
  virtual void remove_notices() {}
  [[nodiscard]] bool has_table(const std::string& name);

 private:
  [[nodiscard]] bool has_columns(const std::string& table, const std::string& columns);
  [[nodiscard]] bool has_tables_of_the_reference();
  void note_bus();
  void expect_not_running();
  /// Runs `make` while no other process of ours makes tables here. Two that did so at once would collide in
  /// the catalogue of the server, also with IF NOT EXISTS. Throws StoreError when the other one does not
  /// finish.
  void while_nobody_makes_tables(const std::function<void()>& make);

  std::string route_;
  std::string bus_;  // the note of `_bus`, once there is one
  std::string numbering_;
  std::optional<Value> name_lock_;
};

/// The interval at which a member looks at peers of the reference and on other machines, which give no
/// notice.
inline constexpr std::chrono::milliseconds kPollTime{200};
/// The interval at which a member looks whether the tables of its bus still exist, if nothing reports their
/// removal.
inline constexpr std::chrono::seconds kBusTime{5};

}  // namespace ipcm::database
