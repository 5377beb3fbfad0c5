#pragma once

#include <functional>
#include <memory>
#include <string>

#include "transport/database/database_transport.h"
#include "transport/database/dsn.h"

namespace ipcm::database {

// What buses on database servers share. Beside the reference's two tables stands one of ours, which peers of
// the reference do not know:
//
//   ipcm_ours(id, name, note, pid, host, lock_key)
//
// It is the mark of a bus. A database without it is a bus only if it has the reference's two tables.
//
// one row for each of ours that has joined: its real name (where that is too long for the other tables), its
// class, its process and machine, and the server's lock that its connection holds. The lock ends with the
// connection, whatever kills the process, and can be seen from other machines. Rows whose id begins with `_`
// are no peers: `_owner` (its note: when that process was started), `_made` if the bus has made the tables,
// and `_bus`, whose note no other bus has.

class ServerStore : public Store {
 public:
  [[nodiscard]] std::string where() const final { return route_; }
  [[nodiscard]] std::string id_of(const std::string& name) const final;
  [[nodiscard]] std::vector<PeerRow> rows(const std::string* id, bool judged) final;
  [[nodiscard]] bool take_name(const PeerRow& who, const std::string& note,
                               transport::HeldLock::Attempt& attempt) final;
  void introduce(const PeerRow& who, const std::string& note) final;
  void drop_name() noexcept final;
  [[nodiscard]] bool holds_name() const final { return name_lock_.has_value(); }
  void while_nobody_has(const PeerRow& who, const std::function<bool()>& what) final;
  [[nodiscard]] os::UniqueFd process_of(const PeerRow& row) final;
  [[nodiscard]] bool is_there() final { return true; }  // its statements tell
  [[nodiscard]] transport::OwnerFacts owner() final;

  /// Makes what is missing of the tables. Throws BusError where a bus is running already.
  void make_tables();
  /// Throws BusError if there is no bus; adds ours to one of the reference.
  void expect_bus();
  /// Takes the tables away that the bus has made. Throws BusError if there is no bus.
  void remove_tables();
  /// Locks under a key of its own, and notes that as the owner's.
  void own();
  void disown();

 protected:
  ServerStore(Connect connect, std::string route);
  void before_reopen() override { name_lock_.reset(); }
  void after_reopen() override;

  /// The kind of lock key that the server wants, made of any text.
  [[nodiscard]] virtual Value lock_key(const std::string& text) = 0;
  [[nodiscard]] virtual bool lock(const Value& key, std::chrono::seconds patience) = 0;
  virtual void unlock(const Value& key) = 0;
  /// The columns after those of ipcm_peers `p`: 1 if the lock of `o` is held. With what goes before SELECT.
  [[nodiscard]] virtual const char* held_expression() const = 0;
  [[nodiscard]] virtual const char* held_prefix() const { return ""; }
  [[nodiscard]] virtual std::vector<std::string> table_statements() = 0;
  [[nodiscard]] virtual std::string ours_statement() = 0;
  virtual void add_notices() {}  ///< Triggers, where the server can tell.
  virtual void remove_notices() {}
  [[nodiscard]] bool has_table(const std::string& name);

 private:
  [[nodiscard]] bool has_columns(const std::string& table, const std::string& columns);
  [[nodiscard]] bool has_tables_of_the_reference();
  void note_bus();
  void expect_not_running();
  /// Runs `make` while no other process of ours makes tables here. Two that did so at once would collide in
  /// the catalogue of the server, also with IF NOT EXISTS. Throws StoreError when the other one does not finish.
  void while_nobody_makes_tables(const std::function<void()>& make);

  std::string route_;
  std::string bus_;  // the note of `_bus`, once there is one
  std::string numbering_;
  std::optional<Value> name_lock_;
};

class ServerProtocol : public transport::Protocol {
 public:
  [[nodiscard]] std::string why_not_viable() const noexcept final { return why_no_driver(driver()); }
  [[nodiscard]] bool keeps_messages() const final { return true; }
  [[nodiscard]] bool has_credentials() const final { return true; }
  void check_route(const std::string& route) const final { (void)read_route(route, form()); }
  [[nodiscard]] std::string make_route(const SpawnOptions& options) const final;
  transport::Removal remove_route(const BusInfo& info, transport::Living living) const noexcept final;
  [[nodiscard]] std::unique_ptr<transport::Ownership> own(const BusInfo& info) const final;
  [[nodiscard]] transport::OwnerFacts owner(const BusInfo& info) const final;
  [[nodiscard]] std::unique_ptr<transport::Transport> join(const transport::JoinRequest& request, Loop& loop,
                                                           transport::Receiver& receiver) const final;

 protected:
  [[nodiscard]] virtual const RouteForm& form() const = 0;
  /// Connects. Throws BusError.
  [[nodiscard]] virtual std::unique_ptr<ServerStore> connect(const BusInfo& info) const = 0;
};

/// Opens a session on the server of a route. Throws BusError that holds no password.
[[nodiscard]] OwnedSession connect_to_server(const char* driver, const BusInfo& info, const RouteForm& form,
                                             const Parameters& defaults);
/// Foreign peers, and peers on other machines, can't tell of themselves: then one looks again this often.
inline constexpr std::chrono::milliseconds kPollTime{200};
/// How often a member looks whether the tables of its bus are still there, where nothing tells that they were
/// dropped.
inline constexpr std::chrono::seconds kBusTime{5};

}  // namespace ipcm::database
