#include "transport/database/server_protocol.h"

#include <optional>
#include <utility>

#include "ipcm/error.h"
#include "transport/database/database_transport.h"
#include "transport/database/statement_timeout.h"

namespace ipcm::database {
namespace {

constexpr std::chrono::seconds kConnectTime{10}, kRemoveTime{10}, kLeastTime{2};

class ServerOwnership final : public transport::Ownership {
 public:
  explicit ServerOwnership(std::unique_ptr<ServerStore> store) : store_(std::move(store)) {}
  void release() noexcept override {
    if (!store_->is_ours()) return;
    try {
      const LeavingTimeout timeout(*store_);
      store_->disown();
    } catch (const std::exception&) {
      // The bus is gone.
    }
    store_.reset();
  }

 private:
  std::unique_ptr<ServerStore> store_;
};

/// Returns the name of a member of ours that holds its lock and belongs to another process.
std::optional<std::string> living_peer(ServerStore& store) {
  constexpr bool kJudged = true;
  for (const PeerRow& row : store.rows(nullptr, kJudged)) {
    const bool is_elsewhere = row.facts.elsewhere && row.facts.state == transport::PeerFacts::State::active;
    if ((row.is_held || is_elsewhere) && !row.facts.is_us) return row.name;
  }
  return std::nullopt;
}

}  // namespace

OwnedSession connect_to_server(const char* driver, const BusInfo& info, const RouteForm& form,
                               const Parameters& defaults) {
  Parameters parameters = read_route(info.route, form);
  add_credentials(parameters, info.credentials);
  for (const auto& [key, value] : defaults) {
    std::string& given = parameters[key];
    if (given.empty())
      given = value;
    else if (key == "options")
      given += " " + value;
  }
  Failure failure;
  OwnedSession session(load_driver(driver), parameters, os::limited(kConnectTime), failure);
  if (!session)
    throw StoreError(failure.kind,
                     "the server of the bus '" + info.route + "' can't be reached: " + failure.text);
  return session;
}

std::string ServerProtocol::make_route(const SpawnOptions& options) const {
  if (options.route.empty())
    throw BusError(std::string("protocol ") + name() +
                   " needs a database that is there already: name it as the route" +
                   (options.parent_directory.empty() ? "" : " (not in " + options.parent_directory + ")") +
                   ", such as dbname=x host=/run/server");
  within_limit([&] {
    const auto store = connect({name(), "", options.route, {}, options.credentials});
    const StatementTimeout timeout(*store);
    store->make_tables();
  });
  return options.route;
}

transport::Removal ServerProtocol::remove_route(const BusInfo& info,
                                                transport::Living living) const noexcept {
  try {
    const os::TimeLimit limit(os::limited(kRemoveTime, kLeastTime));
    const auto store = connect(info);
    const StatementTimeout timeout(*store);
    if (living == transport::Living::spare) {
      if (const auto peer = living_peer(*store)) {
        transport::Removal removal;
        removal.living = *peer;
        return removal;
      }
    }
    store->remove_tables();
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

std::unique_ptr<transport::Ownership> ServerProtocol::own(const BusInfo& info) const {
  return within_limit([&] {
    auto store = connect(info);
    {
      const StatementTimeout timeout(*store);
      store->own();
    }
    return std::make_unique<ServerOwnership>(std::move(store));
  });
}

transport::OwnerFacts ServerProtocol::owner(const BusInfo& info) const {
  return within_limit([&]() -> transport::OwnerFacts {
    const auto store = connect(info);
    const StatementTimeout timeout(*store);
    try {
      return store->owner();
    } catch (const StoreError& error) {
      if (error.kind() == Failure::Kind::missing) return {};
      throw;
    }
  });
}

std::unique_ptr<transport::Transport> ServerProtocol::join(const transport::JoinRequest& request, Loop& loop,
                                                           transport::Receiver& receiver) const {
  return within_limit([&] {
    auto store = connect(request.info);
    {
      const StatementTimeout timeout(*store);
      store->expect_bus();
    }
    return std::make_unique<DatabaseTransport>(request, loop, receiver, std::move(store));
  });
}

}  // namespace ipcm::database
