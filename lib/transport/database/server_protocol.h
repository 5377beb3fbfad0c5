#pragma once

#include <memory>
#include <string>

#include "transport/database/dsn.h"
#include "transport/database/server.h"

namespace ipcm::database {

/// The part of a Protocol that all buses on database servers share.
class ServerProtocol : public transport::Protocol {
 public:
  [[nodiscard]] std::string why_not_viable() const noexcept final { return why_no_driver(driver()); }
  [[nodiscard]] bool keeps_messages() const final { return true; }
  [[nodiscard]] bool carries_fields() const final { return false; }
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

/// Opens a session on the server of a route. Throws BusError, which contains no password.
[[nodiscard]] OwnedSession connect_to_server(const char* driver, const BusInfo& info, const RouteForm& form,
                                             const Parameters& defaults);

}  // namespace ipcm::database
