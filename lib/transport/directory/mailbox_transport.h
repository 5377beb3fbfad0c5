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
    later,  ///< a part was sent; call again with the same message when waits_for() is ready
    gone,   ///< no process reads there any more
  };
  virtual ~Channel() = default;
  /// Throws ProtocolError if the peer cannot take this message.
  virtual void expect_fits(const std::string& payload) = 0;
  /// Sends a message. If it throws SystemError, that message is lost, and the next call may be for another
  /// one.
  [[nodiscard]] virtual Put put(const std::string& payload) = 0;
  struct Wait {
    int fd;  ///< borrowed; stays open until the next put()
    std::uint32_t events;
  };
  /// The event to wait for after `later`.
  [[nodiscard]] virtual Wait waits_for() const = 0;
};

// Protocols whose endpoint is a mailbox: a socket or a pipe that its owner only reads and all others only
// write. Nothing comes back on it, and it does not show when its owner leaves: that shows at the next send,
// and in the directory.
//
// Messages that the kernel does not take are queued here for each peer, and sent when there is room.
//
// Each send first looks which file has the name of the peer. So it reaches a successor at once, even if
// children of the predecessor still hold the old mailbox open. (The kernel does not reuse the inode of a
// file that is open; if it is not open, sending fails, and the name is looked up again.)

class MailboxTransport : public DirectoryTransport {
 public:
  SendResult send(const Message& message) final;
  [[nodiscard]] std::size_t queued_bytes(const std::string& peer) const final;
  [[nodiscard]] std::size_t queued_messages() const final;
  void abandon(const std::string& peer) final;
  void drain() final;
  void receive(bool on) final;
  [[nodiscard]] bool keeps_links() const final { return false; }

 protected:
  /// `endpoint`: the kind of file that a mailbox is.
  MailboxTransport(const JoinRequest& request, Loop& loop, Receiver& receiver, const Protocol& protocol,
                   Route route, os::FileKind endpoint);

  /// Joins: claims the name, makes the mailbox, announces it. Does nothing for anonymous members.
  void join();
  [[nodiscard]] virtual os::UniqueFd make_mailbox(const std::string& file) = 0;
  /// Opens the mailbox of a peer; nullptr: no process reads there.
  [[nodiscard]] virtual std::unique_ptr<Channel> open_channel(const std::string& peer,
                                                              const std::string& file) = 0;
  /// Reads the mailbox: a fair share of it, or all.
  enum class Share { fair, all };
  virtual void take_in(Share share) = 0;

  [[nodiscard]] int mailbox() const { return mailbox_.get(); }
  [[nodiscard]] bool receiving() const { return receiving_; }
  /// Reads a message and passes it on. `origin` names its source, for people.
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
  struct Linked {
    Link* link = nullptr;
    std::string why = {};  // null: the reason
  };
  [[nodiscard]] Linked link_to(const std::string& peer);
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
