#pragma once

#include <map>
#include <memory>
#include <string>

#include "command/host.h"
#include "ipcm/service.h"

namespace ipcm::command {

/// A way to speak with programs: how a request becomes input, and output an answer. It owns the programs.
///
/// All functions run in a turn of the service, so they may answer, start and end. Each request that receive() gets is
/// answered once, with Host::answer() or Host::fail(), now or in a later process(). To add a way: a class in a file of its
/// own, a value in Speak, a word in arguments.cc, and a line in make_speaker().
class Speaker {
 public:
  Speaker() = default;
  Speaker(const Speaker&) = delete;
  Speaker& operator=(const Speaker&) = delete;
  virtual ~Speaker() = default;

  /// Starts the programs that have to run before the service is ready.
  virtual void start() = 0;
  /// Returns whether the service is ready; called after process() until it is true. Throws Error if it can't become ready.
  [[nodiscard]] virtual bool is_ready() = 0;
  virtual void receive(Request&& request) = 0;
  /// A message that is no request.
  virtual void on_message(const Message&) {}
  /// Peers have left the bus (-1) or joined it (+1); called after Host::watch_peers().
  virtual void on_peers(const std::map<std::string, int>&) {}
  /// Reacts to the events of programs; called once in each turn in which Host::wake() was called, and in others.
  virtual void process() = 0;
};

[[nodiscard]] std::unique_ptr<Speaker> make_speaker(Host& host);

// One function for each way; its file has the same name.
[[nodiscard]] std::unique_ptr<Speaker> speak_none(Host& host);
[[nodiscard]] std::unique_ptr<Speaker> speak_per_request(Host& host);
[[nodiscard]] std::unique_ptr<Speaker> speak_lines(Host& host);
[[nodiscard]] std::unique_ptr<Speaker> speak_jsonrpc(Host& host);

}  // namespace ipcm::command
