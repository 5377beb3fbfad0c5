#pragma once

#include <cstdint>
#include <exception>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ipcm/content.h"
#include "ipcm/message.h"
#include "launch/launch.h"

namespace ipcm::client {

/// The peers that the owner of a member starts itself. Requests to a peer that is being started wait here,
/// until it is ready or has failed.
class HeldStarts {
 public:
  struct Request {
    std::string id;
    Content payload;
    Fields fields;
  };
  /// A start whose verdict has come, with the requests that waited for it.
  struct Decided {
    std::string peer;
    std::exception_ptr failure;  ///< null: the peer is ready
    std::vector<Request> requests;
  };
  enum class Hold { no, yes };

  /// Notes a start, in place of an earlier one of that name. Requests wait if `hold` says so, or if there are
  /// some that waited for the earlier one (`waiting`, from take_requests()). `launch` must live until forget(),
  /// or until another start of that name.
  void follow(const std::string& peer, launch::Launch& launch, Hold hold, std::vector<Request> waiting = {});
  void forget(const std::string& peer) { starts_.erase(peer); }
  /// Returns whether requests to that peer wait.
  [[nodiscard]] bool holds(const std::string& peer) const;
  void add(const std::string& peer, Request request);
  /// Removes and returns the starts that are decided.
  [[nodiscard]] std::vector<Decided> take_decided();
  /// The number of starts that take_decided() has returned.
  [[nodiscard]] std::uint64_t decided() const { return decided_; }
  /// Removes and returns the requests that wait for a peer; further ones do not wait for it.
  [[nodiscard]] std::vector<Request> take_requests(const std::string& peer);

  /// Returns how that process of a peer (0: not known which) ended, if it was a child of this process. Waits
  /// a moment for one that is just ending.
  [[nodiscard]] std::optional<ExitStatus> status_of(const std::string& peer, Pid pid) const;

 private:
  struct Start {
    launch::Launch* launch;
    bool holds;
    std::vector<Request> requests;
  };
  std::map<std::string, Start> starts_;
  std::uint64_t decided_ = 0;
};

}  // namespace ipcm::client
