#include "transport/directory/lock_file.h"

#include <charconv>
#include <mutex>
#include <set>
#include <utility>

#include "os/clock.h"
#include "os/events.h"
#include "os/pipe.h"
#include "os/process.h"
#include "os/random.h"
#include "os/record_lock.h"
#include "os/sys.h"
#include "wire/json_text.h"
#include "wire/top_level.h"

namespace ipcm::transport {
namespace {

using FileId = std::pair<std::uint64_t, std::uint64_t>;

/// The lock files held by this process. After a fork the child holds none.
class HeldFiles {
 public:
  static HeldFiles& instance() {
    static HeldFiles all;
    return all;
  }
  bool any() {
    const std::lock_guard<std::mutex> guard(mutex_);
    return !current().empty();
  }
  bool contains(const FileId& id) {
    const std::lock_guard<std::mutex> guard(mutex_);
    return current().contains(id);
  }
  void insert(const FileId& id) {
    const std::lock_guard<std::mutex> guard(mutex_);
    current().insert(id);
  }
  void erase(const FileId& id) {
    const std::lock_guard<std::mutex> guard(mutex_);
    current().erase(id);
  }

 private:
  std::set<FileId>& current() {
    if (generation_ != os::generation()) ids_.clear();
    generation_ = os::generation();
    return ids_;
  }
  std::mutex mutex_;
  std::set<FileId> ids_;
  std::uint32_t generation_ = 0;
};

FileId id_of(const os::FileFacts& facts) { return {facts.device, facts.inode}; }

/// What the holder wrote, at the position of the descriptor.
void read_note(int fd, LockFacts& facts) {
  constexpr std::size_t kLongest = 4096;
  try {
    const std::string text = os::read_all(fd, kLongest, "lock file");
    Pid pid = 0;
    std::string note;
    wire::for_each_member(
        text, "a lock file",
        [&](std::string_view key, wire::MemberKind, std::string_view raw, std::string_view decoded) {
          if (key == "pid") std::from_chars(raw.data(), raw.data() + raw.size(), pid);
          if (key == "note") note = decoded;
          return true;
        });
    facts.pid = facts.written_by = pid;
    facts.note = std::move(note);
  } catch (const Error&) {
    // Being written just now, or not ours: the lock itself still tells.
  }
}

enum class Outlook { free, soon_free, taken };

Outlook outlook_of(const os::Directory& directory, const std::string& file) {
  const LockFacts facts = look_at_lock(directory, file);
  if (!facts.held) return Outlook::free;
  return facts.is_held_for_clearing() ? Outlook::soon_free : Outlook::taken;
}

/// false: the deadline came first.
bool await_change_of(const std::string& file, os::DirectoryWatch& watch, os::Deadline deadline) {
  for (bool changed = false; !changed;) {
    if (!watch.await(deadline)) return false;
    watch.read([&](std::string_view name) { changed = changed || name.empty() || name == file; });
  }
  return true;
}

}  // namespace

HeldLock::HeldLock(HeldLock&& other) noexcept = default;

HeldLock& HeldLock::operator=(HeldLock&& other) noexcept {
  if (this != &other) {
    if (fd_) HeldFiles::instance().erase({device_, inode_});
    fd_ = std::move(other.fd_);
    file_ = std::move(other.file_);
    device_ = other.device_;
    inode_ = other.inode_;
  }
  return *this;
}

HeldLock::~HeldLock() {
  if (fd_) HeldFiles::instance().erase({device_, inode_});
}

std::optional<HeldLock> HeldLock::acquire(const os::Directory& directory, const std::string& file,
                                          const std::string& note, Attempt& attempt, Duration patience) {
  auto lock = try_to_acquire(directory, file, note, attempt);
  const auto is_decided = [&] {
    return lock || attempt.holder == os::own_pid() || outlook_of(directory, file) == Outlook::taken;
  };
  if (note == kClearing || is_decided()) return lock;
  const auto deadline = os::Deadline::after(patience);
  // Before the next look: whatever happens after that look is told.
  os::DirectoryWatch watch(directory.short_path("."), os::DirectoryWatch::Of::contents);
  do {
    // Only looking, and not trying: a try that fails closes the file after writing, which is told to
    // everybody who waits, and to us.
    while (outlook_of(directory, file) == Outlook::soon_free) {
      // Is it told at all? Not if the holder's child has inherited the open file; so a last try.
      if (!await_change_of(file, watch, deadline)) return try_to_acquire(directory, file, note, attempt);
    }
    lock = try_to_acquire(directory, file, note, attempt);
  } while (!is_decided() && !deadline.has_passed());
  return lock;
}

std::optional<HeldLock> HeldLock::try_to_acquire(const os::Directory& directory, const std::string& file,
                                                 const std::string& note, Attempt& attempt) {
  for (;;) {
    attempt = {};
    // A record lock does not keep out its own process; one that holds none (a service that starts) need not
    // look.
    const os::FileFacts there = HeldFiles::instance().any() ? directory.look(file) : os::FileFacts{};
    if (there.kind != os::FileKind::none && HeldFiles::instance().contains(id_of(there))) {
      attempt.holder = os::own_pid();
      return std::nullopt;
    }
    HeldLock lock;
    bool fresh = false;
    lock.fd_ = directory.open_or_create(file, 0600, &fresh);
    const auto part = note == kClearing ? os::LockPart::tail : os::LockPart::whole;
    if (os::try_lock(lock.fd_.get(), part) == os::LockAttempt::held_by_other) {
      attempt.holder = os::lock_holder(lock.fd_.get()).value_or(os::LockHolder{}).pid;
      return std::nullopt;
    }
    // The one before us may have removed it between our open and our lock: then we hold a file that nobody
    // sees.
    const os::FileFacts now = directory.look(file), held = os::facts_of(lock.fd_.get());
    if (now.kind == os::FileKind::none || id_of(now) != id_of(held)) continue;
    lock.file_ = file;
    lock.device_ = held.device;
    lock.inode_ = held.inode;
    HeldFiles::instance().insert(id_of(held));
    if (!fresh) {
      attempt.left = true;
      LockFacts before;
      read_note(lock.fd_.get(), before);
      attempt.left_by = before.pid;
      os::truncate(lock.fd_.get());  // and back to its start
    }
    lock.write_note(note);
    return lock;
  }
}

void HeldLock::write_note(const std::string& note) const {
  os::write_all(fd_.get(),
                R"({"pid":)" + std::to_string(os::own_pid()) + R"(,"note":)" + wire::json_string(note) + "}",
                "lock file");
}

HeldLock HeldLock::replace(const os::Directory& directory, const std::string& file, const std::string& note) {
  constexpr std::size_t kLetters = 8;
  const std::string hidden = file + "." + os::random_name(kLetters);
  Attempt attempt;
  auto lock = acquire(directory, hidden, note, attempt);
  if (!lock) throw SystemError(EAGAIN, "lock '" + directory.path() + "/" + hidden + "'");
  directory.rename(hidden, file);
  lock->file_ = file;
  return std::move(*lock);
}

void HeldLock::release(const os::Directory& directory) noexcept {
  if (!fd_) return;
  // Unless somebody has taken our place: then what stands there is theirs.
  if (id_of(directory.look(file_)) == FileId{device_, inode_}) directory.remove_file(file_);
  HeldFiles::instance().erase({device_, inode_});
  fd_.reset();
}

void HeldLock::put_back(Pid left_by) noexcept {
  if (!fd_) return;
  try {
    os::truncate(fd_.get());
    os::write_all(fd_.get(), R"({"pid":)" + std::to_string(left_by) + R"(,"note":""})", "lock file");
  } catch (const Error&) {
    // An empty one says as much as none.
  }
  HeldFiles::instance().erase({device_, inode_});
  fd_.reset();
}

LockFacts look_at_lock(const os::Directory& directory, const std::string& file) {
  LockFacts facts;
  const os::FileFacts there = directory.look(file);
  if (there.kind != os::FileKind::regular) return facts;
  if (HeldFiles::instance().contains(id_of(there))) {
    facts.exists = facts.held = true;
    facts.pid = facts.written_by = os::own_pid();
    return facts;
  }
  const os::UniqueFd opened = directory.open_existing(file);
  if (!opened) return facts;
  facts.exists = true;
  const auto holder = os::lock_holder(opened.get());
  facts.held = holder.has_value();
  read_note(opened.get(), facts);
  if (!holder) return facts;
  if (holder->pid > 0) facts.pid = holder->pid;
  facts.for_clearing = holder->part == os::LockPart::tail;
  return facts;
}

}  // namespace ipcm::transport
