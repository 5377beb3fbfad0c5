#pragma once

#include <map>
#include <string>
#include <vector>

namespace ipcm::command::jsonrpc {

/// The peers of the bus that want the notifications of a program, by method. "*" stands for all methods.
class Subscriptions {
 public:
  /// answers: requests of the program with this method go to the peer. One peer can do this for a method. Throws
  /// UsageError if another one does, or there are too many subscriptions.
  void add(const std::string& peer, const std::string& method, bool answers);
  /// Returns false if there is no such subscription.
  bool remove(const std::string& peer, const std::string& method);
  /// The peer has left the bus.
  void forget(const std::string& peer);

  /// Returns the peers for a notification, each once.
  [[nodiscard]] std::vector<std::string> of(const std::string& method) const;
  /// Returns the peer that answers requests with this method; empty: there is none.
  [[nodiscard]] std::string answerer(const std::string& method) const;

 private:
  [[nodiscard]] std::string answerer_of(const std::string& method) const;

  std::map<std::string, std::map<std::string, bool>> peers_;  // by method; true: it answers
  std::size_t count_ = 0;
};

}  // namespace ipcm::command::jsonrpc
