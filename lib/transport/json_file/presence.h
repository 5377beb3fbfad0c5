#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "loop/loop.h"
#include "os/events.h"
#include "transport/file/sidecar.h"
#include "transport/json_file/document.h"
#include "transport/presence/process_watch.h"
#include "transport/transport.h"

namespace ipcm::transport {

/// The peers on a JSONFile bus: the clients that the document lists, each judged by its lock or its
/// process.
class JsonPresence {
 public:
  /// All must outlive it.
  JsonPresence(const Sidecar& sidecar, Loop& loop, Receiver& receiver);

  /// `process`: see Sidecar::judge().
  [[nodiscard]] PeerFacts judge(const JsonDocument& document, const std::string& peer,
                                os::UniqueFd* process = nullptr) const;
  struct Listed {
    std::vector<std::string> names;  ///< sorted
    std::vector<std::string> dead;   ///< their leftovers have to be removed
  };
  /// Returns all clients but one.
  [[nodiscard]] Listed list(const JsonDocument& document, const std::string& but_for) const;
  /// Removes those that are still dead. Returns whether there were any.
  [[nodiscard]] bool clear(JsonDocument& document, const std::vector<std::string>& dead) const;

  /// Reports deaths to the receiver from now on, and changes that note() finds.
  void watch();
  [[nodiscard]] bool watches() const { return watches_; }
  /// Compares the clients of the document with those of the last call. Does nothing unless it watches.
  enum class Tell { nobody, receiver };
  void note(const JsonDocument& document, Tell tell);

 private:
  const Sidecar& sidecar_;
  Loop& loop_;
  Receiver& receiver_;
  bool watches_ = false;
  std::map<std::string, std::string> clients_;  // as last seen
  std::unique_ptr<os::DirectoryWatch> directory_;
  Watch watching_;
  ProcessWatch foreign_;
};

}  // namespace ipcm::transport
