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

/// Who is on a JSONFile bus: the clients that the document lists, each judged by its lock or its process.
class JsonPresence {
 public:
  /// All must outlive it.
  JsonPresence(const Sidecar& sidecar, Loop& loop, Receiver& receiver);

  /// `process`: see Sidecar::judge().
  [[nodiscard]] PeerFacts judge(const JsonDocument& document, const std::string& peer,
                                os::UniqueFd* process = nullptr) const;
  struct Listed {
    std::vector<std::string> names;  ///< sorted
    std::vector<std::string> dead;   ///< to be cleared away
  };
  /// All but one.
  [[nodiscard]] Listed list(const JsonDocument& document, const std::string& but_for) const;
  /// Clears away those that are dead still. Whether something was.
  [[nodiscard]] bool clear(JsonDocument& document, const std::vector<std::string>& dead) const;

  /// Tells the receiver of deaths from now on, and of what note() finds.
  void watch();
  [[nodiscard]] bool watches() const { return watches_; }
  /// While it watches: the document may list others than last time.
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
