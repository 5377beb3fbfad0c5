#pragma once

#include <functional>
#include <optional>
#include <string>

#include "transport/database/store.h"
#include "transport/transport.h"

namespace ipcm::database {

/// A member's row of ipcm_peers, and the lock of its name: how it joins, and how it leaves. Throws
/// StoreError.
class Registration {
 public:
  /// `request` and `store` must outlive it. Throws UsageError for a name that no peer can have.
  Registration(Store& store, const transport::JoinRequest& request);

  /// As the tables call us.
  [[nodiscard]] const std::string& id() const { return id_; }
  /// Throws NameTaken. What a predecessor had counted.
  [[nodiscard]] Statistics claim();
  /// After the connection was cut: the same place, as we have left it, or as somebody has cleared it away
  /// because we seemed dead. Throws NameTaken if somebody else has it now, and StoreError (busy) as long as
  /// the server has not noticed that our former connection has ended.
  void take_again();
  /// Makes a row of nobody who is there, for who only visits: tables that the reference made want one for
  /// each sender.
  void let_exist();
  [[nodiscard]] bool exists() const { return exists_; }
  /// What an anonymous member has counted; it has no other row.
  void leave_counts(const Statistics& statistics);
  /// `last` is called in the same transaction, before.
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
  double since_ = 0;  // what our row has noted as the time that we joined
};

}  // namespace ipcm::database
