#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "bridge/bridge_line.h"
#include "bridge/channel.h"
#include "bridge/operation.h"
#include "ipcm/client.h"
#include "ipcm/service.h"
#include "os/clock.h"
#include "os/events.h"

namespace ipcm::launcher {

/// Where a bridge performs what only a client, or only a service, can do. The functions throw Error.
class BridgeSide {
 public:
  virtual ~BridgeSide() = default;
  /// Throws UsageError while the bridge is not on the bus (suspended).
  [[nodiscard]] virtual Client& client() = 0;
  virtual void watch_peers() = 0;
  virtual void answer(const Request& request, const Content& content) = 0;
  virtual void answer_error(const Request& request, const std::string& text) = 0;
  /// The program has started; or it can't, for this reason.
  virtual void ready() = 0;
  virtual void fail(const std::string& why) = 0;
  virtual void suspend(std::optional<Duration> expires) = 0;
  virtual void reconnect() = 0;
  virtual void leave(int status) = 0;
  /// Called after lines were written: the rest may wait for the reader.
  virtual void after_writing() {}

 protected:
  BridgeSide() = default;
  BridgeSide(const BridgeSide&) = default;
  BridgeSide& operator=(const BridgeSide&) = default;
};

/// The conversation between a bus and a program: it performs the operations of the program, and tells it what
/// happens on the bus (docs/bridge.md). It watches nothing: the sides call it when something is ready.
class Bridge {
 public:
  /// `limit`: the time for requests whose line has no `timeout`.
  Bridge(Channel channel, BridgeSide& side, Duration limit)
      : channel_(std::move(channel)), side_(side), limit_(limit) {}

  [[nodiscard]] Channel& channel() { return channel_; }
  /// Readable when time_out() has something to do.
  [[nodiscard]] int timer_fd() const { return timer_.fd(); }

  /// Reads the input once and performs some of its lines. The rest waits: see has_lines().
  void read();
  /// Performs all lines that can be read without waiting; at the end.
  void read_rest();
  /// Whether lines were read that are not performed yet.
  [[nodiscard]] bool has_lines() const { return has_lines_; }
  /// Whether the program reads fast enough: otherwise its operations wait.
  [[nodiscard]] bool has_room() const;
  [[nodiscard]] bool has_open_requests() const { return !asked_.empty(); }
  void time_out();

  void tell_request(Request&& request);
  void tell_message(const Message& message);
  void tell_peers(const std::map<std::string, int>& delta);
  void tell_end(const std::string& why, int status);
  /// Tells the current exception, for which no line is the cause. Call it inside a catch block.
  void tell_failure() { refuse({}); }
  /// Fails all open requests: the bridge has left the bus.
  void forget_requests(const std::string& why);
  void tell(BridgeLine line) { channel_.put(line.take()); }

 private:
  struct Asked {
    std::string id;  ///< JSON text of the caller
    std::string peer;
    std::string sent;  ///< the id of the request on the bus
    std::optional<os::Clock::time_point> deadline;
  };

  void perform(std::string_view line);
  void perform(const Operation& operation, const Echo& echo);
  void ask(const Operation& operation, const Echo& echo);
  void answer(const Operation& operation, const Echo& echo);
  void got(std::uint64_t key, const Response& response);
  void arm(os::Clock::time_point deadline);
  /// Returns the answered request, if it was open.
  [[nodiscard]] std::optional<Asked> close(std::uint64_t key);
  void flush();
  [[nodiscard]] static BridgeLine begin(const char* type, const Echo& echo);
  void done(const Echo& echo);
  /// Tells the current exception. Call it inside a catch block.
  void refuse(const Echo& echo);

  Channel channel_;
  BridgeSide& side_;
  Duration limit_;
  bool has_lines_ = false;
  std::map<std::uint64_t, Asked> asked_;  // by our bridge, and not answered yet
  std::multimap<os::Clock::time_point, std::uint64_t> deadlines_;
  std::optional<os::Clock::time_point> armed_;
  os::TimerFd timer_;
  std::map<std::uint64_t, Request> owed_;  // by the program
  std::uint64_t last_asked_ = 0, last_owed_ = 0;
};

}  // namespace ipcm::launcher
