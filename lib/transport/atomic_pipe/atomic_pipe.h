#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "transport/atomic_pipe/pipe_chunks.h"
#include "transport/directory/mailbox_transport.h"
#include "transport/unread_input.h"

namespace ipcm::transport {

// Every member has a named pipe at ROUTE/N, which it only reads. Senders write parts into it
// (transport/atomic_pipe/pipe_chunks.h).
//
// A pipe keeps no borders between writes, so what follows garbage can't be told from it: then all that is in
// the pipe is thrown away. Since each part is one write that goes whole or not at all, an empty pipe is a
// border again; and a part of which only the beginning is there, is garbage.

/// Under which thread number a member writes: those of one process are not to share one, or a reader would
/// mix their messages up. (All of the reference's have 0.) A number is never used again in its process, since
/// a reader may still hold the beginning of a message under it.
class WriterNumber {
 public:
  [[nodiscard]] std::int32_t get();
  /// A message was begun under this one and will not be finished.
  void spoil() noexcept { number_ = -1; }

 private:
  std::int32_t number_ = -1;
};

class AtomicPipe final : public MailboxTransport {
 public:
  AtomicPipe(const JoinRequest& request, Loop& loop, Receiver& receiver);
  ~AtomicPipe() override;

 private:
  /// A process that wrote the beginning of a message.
  struct Writer {
    os::UniqueFd process;  // none: no process of that number can be seen here
    Watch watch;
    Watch out_of_sight;  // the time that its message has to come to its end
  };
  [[nodiscard]] os::UniqueFd make_mailbox(const std::string& file) override;
  [[nodiscard]] std::unique_ptr<Channel> open_channel(const std::string& peer,
                                                      const std::string& file) override;
  void take_in(Share share) override;
  void stop_reading() override { writers_.clear(); }
  /// false: there is more.
  bool read_until_empty(Share share);
  void take_parts();
  void throw_away(const std::string& why);
  void limit_unread();
  void watch_writers();
  [[nodiscard]] std::set<Pid> ended_writers();
  void give_up(Pid pid);

  ChunkReader reader_;
  UnreadInput unread_;          // of messages that are not all there
  bool throwing_away_ = false;  // up to where the pipe is empty
  std::map<Pid, Writer> writers_;
  std::shared_ptr<WriterNumber> number_ = std::make_shared<WriterNumber>();
};

}  // namespace ipcm::transport
