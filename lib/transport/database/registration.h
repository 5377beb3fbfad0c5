#pragma once

#include <functional>
#include <optional>
#include <string>

#include "transport/database/store.h"
#include "transport/transport.h"

namespace ipcm::database {

/// The registration of a member: its row of ipcm_peers, and the lock of its name. Throws StoreError.
class Registration {
 public:
  /// `request` and `store` must outlive it. Throws UsageError for a name that no peer can have.
  Registration(Store& store, const transport::JoinRequest& request);

  /// Returns the id of the member in the tables.
  [[nodiscard]] const std::string& id() const { return id_; }
  /// Takes the name. Returns the counts of a predecessor. Throws NameTaken.
  [[nodiscard]] Statistics claim();
  /// Takes the name again after the connection was cut, whether the row is unchanged, or another process
  /// has removed it because this member seemed dead. Throws NameTaken if another peer has the name now, and
  /// StoreError (busy) as long as the server has not noticed the end of the former connection.
  void take_again();
  /// Inserts an inactive peer row for a transient client: the tables of the reference need a row for each
  /// sender.
  void let_exist();
  [[nodiscard]] bool exists() const { return exists_; }
  /// Writes the counts of an anonymous member, which has no other row.
  void leave_counts(const Statistics& statistics);
  /// Calls `last` first, in the same transaction.
  void leave(const Statistics& statistics, const std::function<void()>& last);
  void suspend(const Statistics& statistics, std::optional<double> expires,
               const std::function<void()>& last);

 private:
  void write_row(const std::optional<PeerRow>& row, const transport::HeldLock::Attempt& attempt,
                 Statistics& past);
  void give_up(const char* columns, Values values, const Statistics& statistics,
               const std::function<void()>& last);
  void expect_ours(const std::optional<PeerRow>& row) const;
  [[nodiscard]] Blob stored(const Statistics& statistics) const;

  Store& store_;
  const transport::JoinRequest& request_;
  std::string id_;
  bool exists_ = false;
  double since_ = 0;  // the time of joining in our row
};

}  // namespace ipcm::database
