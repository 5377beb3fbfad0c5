#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "loop/recovery.h"
#include "transport/directory/directory_transport.h"
#include "transport/message_files/mailbox.h"
#include "transport/message_files/outbox.h"

namespace ipcm::transport {

// Each member has a directory ROUTE/N, its mailbox. A message is a file in it: written as ID.pend, renamed
// to ID.ready. The reader reads the files, and removes each after its message was acknowledged. See
// docs/bus.md.
//
// Nothing is queued here: sent messages are in the file system. inotify reports arrivals; the watch begins
// before the member announces that it can receive, and the mailbox is listed once for earlier files.

class MessageFiles final : public DirectoryTransport {
 public:
  MessageFiles(const JoinRequest& request, Loop& loop, Receiver& receiver);
  ~MessageFiles() override;

  SendResult send(const Message& message) override;
  [[nodiscard]] std::size_t queued_bytes(const std::string&) const override { return 0; }
  [[nodiscard]] std::size_t queued_messages() const override { return 0; }
  void abandon(const std::string&) override {}
  void drain() override;
  void receive(bool on) override;
  void acknowledge(const std::vector<std::string>& ids) override;
  [[nodiscard]] bool keeps_links() const override { return false; }

 private:
  void stop_listening() override;
  void close_endpoint() override;
  void close_links() override;
  void on_arrival();
  void take_in();
  void take_in_for_loop();
  void look_soon();
  void await_pending();
  void remove_closed_mailbox() const;
  [[nodiscard]] std::string closed_name() const { return "_" + registration_.disk_name; }

  std::unique_ptr<Mailbox> mailbox_;
  std::unique_ptr<os::DirectoryWatch> arrivals_;
  Watch arriving_;
  Recovery taking_in_;
  Watch more_;  // a batch was cut short, or the mailbox has not been listed yet
  bool receiving_ = true;
  std::unordered_map<std::string, Outbox> outboxes_;  // by name on disk
};

}  // namespace ipcm::transport
