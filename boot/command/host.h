#pragma once

#include <string>

#include "command/arguments.h"
#include "command/log_stream.h"
#include "ipcm/service.h"
#include "loop/loop.h"

namespace ipcm::command {

/// The service, as its programs and its way of speaking see it.
class Host {
 public:
  /// The service must be made, and must outlive this object.
  Host(Service& service, const Plan& plan);

  [[nodiscard]] const Plan& plan() const { return plan_; }
  [[nodiscard]] Loop& loop() { return loop_; }
  /// For callbacks of the loop: Speaker::process() runs in the next turn.
  void wake();
  [[nodiscard]] LogStream& output_log() { return output_log_; }
  [[nodiscard]] LogStream& error_log() { return error_log_; }

  /// Answers a request. If the answer can't be sent, the requester gets the reason.
  void answer(const Request& request, const Content& content);
  /// Answers a request with an error. The log has only what the program itself wrote to stderr.
  void fail(const Request& request, const std::string& why);
  /// Sends a general message without waiting. Returns false, and sets the reason, if it can't be sent.
  [[nodiscard]] bool tell(const std::string& peer, const Content& content, std::string& why);
  /// Sends a request to a peer; `call` gets its answer in a later turn. Throws Error.
  void ask(const std::string& peer, const Content& content, ResponseCallback call);
  /// Whether a peer of this name can get messages.
  [[nodiscard]] bool has_peer(const std::string& name);
  /// From now on the speaker learns of peers that come and go.
  void watch_peers();
  /// Writes a line to stderr, for the operator.
  void complain(const std::string& sentence) const;
  /// Ends the service after this turn.
  void end_service(int status);

 private:
  Service& service_;
  const Plan& plan_;
  Loop& loop_;
  LogStream output_log_, error_log_;
};

}  // namespace ipcm::command
