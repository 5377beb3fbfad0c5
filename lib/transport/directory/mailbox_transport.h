#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>

#include "loop/recovery.h"
#include "transport/directory/directory_transport.h"

namespace ipcm::transport {

/// The open channel to one peer's mailbox.
class Channel {
 public:
  enum class Put {
    done,
    later,  ///< not all of it went; to be called again with the same message once waits_for() tells
    gone,   ///< nobody reads there any more
  };
  virtual ~Channel() = default;
  /// Throws ProtocolError for a message that this peer can't take.
  virtual void expect_fits(const std::string& payload) = 0;
  /// Throws SystemError; then that message is given up, and the next call may be with another one.
  [[nodiscard]] virtual Put put(const std::string& payload) = 0;
  struct Wait {
    int fd;  ///< borrowed; stays open until the next put()
    std::uint32_t events;
  };
  /// After `later`.
  [[nodiscard]] virtual Wait waits_for() const = 0;
};

// Protocols whose endpoint is a mailbox: a socket or a pipe that its owner only reads and all others only
// write. Nothing comes back on it, and it is silent about those who leave: that shows when something is
// sent, and in the directory.
//
// What the kernel does not take is queued here, for each peer by itself, and goes out when there is room.
//
// Before each send one looks which file stands under the peer's name: a successor is reached at once, even if
// children of its predecessor still hold the old mailbox open. (Its number is not given away again as long as
// it is open somewhere; when it is not, sending fails, and the name is looked up anew.)

class MailboxTransport : public DirectoryTransport {
 public:
  Sent send(const Message& message, std::string& why) final;
  [[nodiscard]] std::size_t queued_bytes(const std::string& peer) const final;
  [[nodiscard]] std::size_t queued_messages() const final;
  void abandon(const std::string& peer) final;
  void drain() final;
  void receive(bool on) final;
  [[nodiscard]] bool keeps_links() const final { return false; }

 protected:
  /// `endpoint`: what kind of file a mailbox is.
  MailboxTransport(const JoinRequest& request, Loop& loop, Receiver& receiver, const Protocol& protocol,
                   Route route, os::FileKind endpoint);

  /// Joins: claims the name, makes the mailbox, announces it. Does nothing for anonymous members.
  void join();
  [[nodiscard]] virtual os::UniqueFd make_mailbox(const std::string& file) = 0;
  /// nullptr: nobody reads there.
  [[nodiscard]] virtual std::unique_ptr<Channel> open_channel(const std::string& peer,
                                                              const std::string& file) = 0;
  /// Takes in what is in the mailbox; a fair share of it, or all.
  enum class Share { fair, all };
  virtual void take_in(Share share) = 0;

  [[nodiscard]] int mailbox() const { return mailbox_.get(); }
  [[nodiscard]] bool receiving() const { return receiving_; }
  /// Reads a message and hands it on. `origin` tells where it came from, for people.
  void take_payload(std::string_view payload, const std::string& origin);
  /// Called before the mailbox is closed.
  virtual void stop_reading() {}

 private:
  struct Link {
    std::unique_ptr<Channel> channel;
    std::uint64_t device = 0, inode = 0;
    std::deque<std::string> queue;
    std::size_t queued_bytes = 0;
    std::uint64_t used = 0;
    std::uint64_t id = 0;  // see last_link()
    Watch watch;           // declared after the channel: it ends first
  };
  void stop_listening() final;
  void close_links() final;
  Link* link_to(const std::string& peer, std::string& why);
  void close_one_idle();
  void wait_for_room(const std::string& peer, Link& link);
  void flush(const std::string& peer);
  void lose(const std::string& peer, const std::string& why);
  void look_after_links() override;

  os::FileKind endpoint_;
  os::UniqueFd mailbox_;
  Watch reading_;
  Recovery taking_in_;
  bool receiving_ = true;
  std::unordered_map<std::string, Link> links_;
  std::uint64_t uses_ = 0, last_id_ = 0;
};

}  // namespace ipcm::transport
