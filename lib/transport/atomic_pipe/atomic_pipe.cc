#include "transport/atomic_pipe/atomic_pipe.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <utility>

#include "ipcm/error.h"
#include "os/clock.h"
#include "os/directory.h"
#include "os/fifo.h"
#include "os/identity.h"
#include "os/process.h"
#include "os/random.h"
#include "os/socket.h"
#include "transport/atomic_pipe/protocol.h"
#include "wire/frame.h"

namespace ipcm::transport {
namespace {

/// The bytes that are read from the mailbox before other callbacks of the loop run.
constexpr std::size_t kPipeBytesPerTurn = 4UL * 1024 * 1024;
constexpr std::size_t kPiece = 64UL * 1024;
/// The time for the rest of a message if its writer cannot be seen here.
constexpr auto kOutOfSight = std::chrono::seconds(60);

/// A pipe of a peer, open to write to.
class PipeChannel final : public Channel {
 public:
  PipeChannel(os::UniqueFd pipe, std::shared_ptr<WriterNumber> number)
      : pipe_(std::move(pipe)), number_(std::move(number)) {}
  ~PipeChannel() override { give_up(); }
  PipeChannel(const PipeChannel&) = delete;
  PipeChannel& operator=(const PipeChannel&) = delete;

  void expect_fits(const std::string&) override {}

  Put put(const std::string& payload) override {
    try {
      return put_parts(payload);
    } catch (...) {
      give_up();  // another message may come
      throw;
    }
  }

  [[nodiscard]] Wait waits_for() const override { return {pipe_.get(), EPOLLOUT}; }

 private:
  Put put_parts(const std::string& payload) {
    if (written_ == 0) writer_ = {os::own_pid(), number_->get()};
    os::PipeWriting writing;
    std::array<char, kLargestChunk> room;
    for (const std::size_t parts = chunk_count(payload.size()); written_ < parts; ++written_) {
      const auto part = write_chunk(room, writer_, payload, parts - 1 - written_);
      switch (writing.put(pipe_.get(), part)) {
        case os::PutResult::done:
          break;
        case os::PutResult::later:
          return Put::later;
        case os::PutResult::gone:
          written_ = 0;  // the chunks went with their reader
          return Put::gone;
      }
    }
    written_ = 0;
    return Put::done;
  }

  void give_up() noexcept {
    if (std::exchange(written_, 0) > 0) number_->spoil();
  }

  os::UniqueFd pipe_;
  std::shared_ptr<WriterNumber> number_;
  ChunkWriter writer_;       // of the present message
  std::size_t written_ = 0;  // chunks of it
};

}  // namespace

std::int32_t WriterNumber::get() {
  if (number_ >= 0) return number_;
  // The counter is in the lower half, the process that it counts for in the upper: a forked child starts a
  // new counter, without a lock that a thread of its parent might have held at the fork.
  static std::atomic<std::uint64_t> given{0};
  constexpr unsigned kHalf = 32;
  std::uint64_t before = given.load(), after = 0;
  do {
    const std::uint64_t here = static_cast<std::uint64_t>(os::generation()) << kHalf;
    // Starts at a random number: another process, in another pid namespace, may have our process id there.
    const std::uint64_t count =
        before >> kHalf == here >> kHalf ? before & 0xffffffffU : os::random_bits() & kLargestThread;
    number_ = static_cast<std::int32_t>(count);
    after = here | (count == kLargestThread ? 0 : count + 1);
  } while (!given.compare_exchange_weak(before, after));
  return number_;
}

AtomicPipe::AtomicPipe(const JoinRequest& request, Loop& loop, Receiver& receiver)
    : MailboxTransport(request, loop, receiver, atomic_pipe_protocol(),
                       Route(request.info.route, {.longest_name = kLongestName,
                                                  .endpoints = {os::FileKind::fifo},
                                                  .ask_endpoint = os::look_at_fifo}),
                       os::FileKind::fifo) {
  UnreadInput::check_limit();
  join();
}

AtomicPipe::~AtomicPipe() { leave_silently(); }

os::UniqueFd AtomicPipe::make_mailbox(const std::string& file) {
  return os::make_fifo_at(route_.directory(), file);
}

std::unique_ptr<Channel> AtomicPipe::open_channel(const std::string&, const std::string& file) {
  auto pipe = os::open_fifo_at(route_.directory(), file);
  return pipe ? std::make_unique<PipeChannel>(std::move(*pipe), number_) : nullptr;
}

void AtomicPipe::take_in(Share share) {
  if (!read_until_empty(share)) return;
  watch_writers();
  const auto ended = ended_writers();
  if (ended.empty()) return;
  // The bytes that they wrote before they ended, and after the last read.
  (void)read_until_empty(Share::all);
  for (const Pid pid : ended) {
    writers_.erase(pid);
    if (const std::size_t lost = reader_.forget(pid); lost > 0)
      receiver_.dropped("a message of process " + std::to_string(pid) + " was dropped: it ended after " +
                        std::to_string(lost) + " bytes of it");
  }
  watch_writers();
}

bool AtomicPipe::read_until_empty(Share share) {
  // "All" means the bytes that are there now, not those that writers add meanwhile.
  const std::size_t most = share == Share::all ? os::bytes_waiting(mailbox()) + 1 : kPipeBytesPerTurn;
  for (std::size_t total = 0; total < most && (receiving() || share == Share::all);) {
    const auto room = reader_.room(kPiece);
    std::size_t got = 0;
    if (os::read_fifo(mailbox(), room, &got) != os::ReadResult::some) {
      throwing_away_ = false;
      if (reader_.in_mid_chunk()) {
        throw_away("the beginning of a part without its end");
        throwing_away_ = false;
      }
      return true;
    }
    total += got;
    if (throwing_away_) continue;
    reader_.filled(got);
    take_parts();
  }
  return false;
}

void AtomicPipe::take_parts() {
  using What = ChunkReader::What;
  for (;;) {
    const auto event = reader_.next();
    const std::string origin = "of process " + std::to_string(event.writer.pid);
    switch (event.what) {
      case What::more:
        limit_unread();
        return;
      case What::message:
        if (!event.message.empty()) take_payload(event.message, origin);
        break;
      case What::too_large:
        receiver_.dropped("a message " + origin + " was dropped: it is larger than the limit of " +
                          std::to_string(wire::kLargestFrame));
        break;
      case What::restarted:
        if (event.lost > 0)
          receiver_.dropped("a message " + origin + " was dropped: after " + std::to_string(event.lost) +
                            " bytes of it another one came");
        break;
      case What::crowded:
        receiver_.dropped("a message " + origin + " was dropped after " + std::to_string(event.lost) +
                          " bytes: too many write at once");
        break;
      case What::senseless:
        throw_away("something that is no header of a part");
        return;
    }
  }
}

void AtomicPipe::limit_unread() {
  unread_.count(reader_.unfinished_bytes());
  while (unread_.bytes() > 0 && UnreadInput::is_too_much()) {
    const auto [writer, lost] = reader_.forget_largest();
    unread_.count(reader_.unfinished_bytes());
    receiver_.dropped("a message of process " + std::to_string(writer.pid) + " was dropped after " +
                      std::to_string(lost) +
                      " bytes: all senders together have begun more than the limit of " +
                      std::to_string(UnreadInput::limit()) + " bytes ($IPCM_INPUT_LIMIT, in MiB)");
  }
}

void AtomicPipe::throw_away(const std::string& why) {
  receiver_.dropped("all that was in the pipe of '" + request_.name + "' was thrown away: it contained " +
                    why);
  reader_.forget_all();
  unread_.count(0);
  throwing_away_ = true;
}

void AtomicPipe::watch_writers() {
  const auto unfinished = reader_.unfinished();
  std::erase_if(writers_, [&](const auto& entry) { return !unfinished.contains(entry.first); });
  for (const Pid pid : unfinished) {
    if (writers_.contains(pid)) continue;
    Writer& writer = writers_[pid];
    try {
      if (auto process = os::open_process(pid)) writer.process = std::move(*process);
    } catch (const Error&) {
      // There is no free descriptor: treat it as a process that cannot be seen.
    }
    if (!writer.process) continue;
    writer.watch = loop_.watch(writer.process.get(), EPOLLIN, [this, pid](std::uint32_t) {
      const auto found = writers_.find(pid);
      if (found == writers_.end()) return;
      found->second.watch.stop();  // once is enough
      if (receiving()) take_in(Share::all);
    });
  }
}

std::set<Pid> AtomicPipe::ended_writers() {
  std::set<Pid> ended;
  for (auto& entry : writers_) {
    const Pid pid = entry.first;
    Writer& writer = entry.second;
    if (writer.process && !os::has_ended(writer.process.get())) continue;
    if (writer.out_of_sight) continue;
    if (os::look_for_process(pid) == os::Seen::ended) {
      ended.insert(pid);
      continue;
    }
    // It may write from another pid namespace, where its process id names another process.
    writer.out_of_sight = loop_.at(os::Clock::now() + kOutOfSight, [this, pid] { give_up(pid); });
  }
  return ended;
}

void AtomicPipe::give_up(Pid pid) {
  writers_.erase(pid);
  if (const std::size_t lost = reader_.forget(pid); lost > 0)
    receiver_.dropped("a message of process " + std::to_string(pid) +
                      ", which can't be seen from here, was " + "dropped after " + std::to_string(lost) +
                      " bytes: the rest did not come in time");
}

const Protocol& atomic_pipe_protocol() {
  static const DirectoryProtocolOf<AtomicPipe> protocol(
      {.name = "AtomicPipe",
       .summary = "named pipes in a directory; without sockets, no broker",
       .keeps_messages = false,
       .endpoints = {os::FileKind::fifo}});
  return protocol;
}

}  // namespace ipcm::transport
