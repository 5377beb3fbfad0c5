#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "transport/atomic_pipe/pipe_chunks.h"
#include "transport/directory/mailbox_transport.h"
#include "transport/unread_input.h"

namespace ipcm::transport {

// Every member has a named pipe at ROUTE/N, which only it reads. Senders write chunks into it
// (pipe_chunks.h).
//
// A pipe keeps no borders between writes, so a reader cannot find the next chunk after garbage: it discards
// everything in the pipe. Each chunk is one write, which succeeds wholly or not at all, so an empty pipe is
// a border again; and an incomplete chunk is garbage.

/// The thread number under which a member writes. Members of one process need different numbers, or a
/// reader would mix their messages. (All members of the reference have 0.) A process never reuses a number,
/// since a reader may still hold the beginning of a message under it.
class WriterNumber {
 public:
  [[nodiscard]] std::int32_t get();
  /// Gives up the number: a message was begun under it and will not be finished.
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
    os::UniqueFd process;  // empty: no process with that id can be seen here
    Watch watch;
    Watch out_of_sight;  // the deadline for the rest of its message
  };
  [[nodiscard]] os::UniqueFd make_mailbox(const std::string& file) override;
  [[nodiscard]] std::unique_ptr<Channel> open_channel(const std::string& peer,
                                                      const std::string& file) override;
  void take_in(Share share) override;
  void stop_reading() override { writers_.clear(); }
  /// Returns false if there is more.
  bool read_until_empty(Share share);
  void take_parts();
  void throw_away(const std::string& why);
  void limit_unread();
  void watch_writers();
  [[nodiscard]] std::set<Pid> ended_writers();
  void give_up(Pid pid);

  ChunkReader reader_;
  UnreadInput unread_;          // of incomplete messages
  bool throwing_away_ = false;  // up to where the pipe is empty
  std::map<Pid, Writer> writers_;
  std::shared_ptr<WriterNumber> number_ = std::make_shared<WriterNumber>();
};

}  // namespace ipcm::transport
