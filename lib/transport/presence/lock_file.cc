#include "transport/presence/lock_file.h"

#include <atomic>
#include <charconv>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "ipcm/error.h"
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

/// A lock file that this process holds: it never reads such a file.
struct HeldFile {
  os::LockPart part;
  PeerNote note;
};

/// The lock files that this process holds. A forked child starts with none, and with an unlocked mutex.
struct HeldFiles {
  std::uint32_t generation = os::generation();
  HeldFiles* of_parent = nullptr;  // before a fork: never touched again, and not destroyed
  std::mutex mutex;                // held while a lock file is opened and closed again, or locked
  std::map<FileId, HeldFile> files;
};

HeldFiles& held_files() {
  static std::atomic<HeldFiles*> all{new HeldFiles};
  HeldFiles* current = all.load();
  if (current->generation == os::generation()) return *current;
  auto fresh = std::make_unique<HeldFiles>();
  fresh->of_parent = current;
  // Two threads of the child may be the first here at once.
  if (all.compare_exchange_strong(current, fresh.get())) return *fresh.release();
  return *current;
}

using Exclusive = std::lock_guard<std::mutex>;

FileId id_of(const os::FileFacts& facts) { return {facts.device, facts.inode}; }

/// Reads the note of the holder, from the position of the descriptor.
void read_note(int fd, LockFacts& facts) {
  constexpr std::size_t kLongest = 4096;
  try {
    std::string text;
    (void)os::read_some(fd, text, kLongest, "lock file");  // it was written at once
    Pid pid = 0;
    PeerNote note;
    wire::for_each_member(
        text, "a lock file",
        [&](std::string_view key, wire::MemberKind, std::string_view raw, std::string_view decoded) {
          if (key == "pid") std::from_chars(raw.data(), raw.data() + raw.size(), pid);
          if (key == "note") note.class_name = decoded;
          if (key == "inspect") note.is_inspectable = raw == "1";
          return true;
        });
    facts.pid = facts.written_by = pid;
    facts.note = std::move(note);
  } catch (const Error&) {
    // The note is incomplete, or not ours: the lock itself still counts.
  }
}

void write_note(int fd, const PeerNote& note) {
  os::write_all(fd,
                R"({"pid":)" + std::to_string(os::own_pid()) + R"(,"note":)" +
                    wire::json_string(note.class_name) + (note.is_inspectable ? R"(,"inspect":1})" : "}"),
                "lock file");
}

/// A process id may belong to another process by the time it is opened. A process that holds the lock after
/// that is the one that held it before.
os::UniqueFd prove_holder(int lock_file, Pid holder) {
  auto process = os::open_process(holder);
  if (!process) return {};
  const auto now = os::lock_holder(lock_file);
  return now && now->pid == holder ? std::move(*process) : os::UniqueFd();
}

enum class Outlook { free, soon_free, taken };

Outlook outlook_of(const os::Directory& directory, const std::string& file) {
  const LockFacts facts = look_at_lock(directory, file);
  if (!facts.held) return Outlook::free;
  return facts.is_held_for_clearing() ? Outlook::soon_free : Outlook::taken;
}

/// Returns false if the deadline came first.
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
    let_go();
    fd_ = std::move(other.fd_);
    file_ = std::move(other.file_);
    device_ = other.device_;
    inode_ = other.inode_;
  }
  return *this;
}

HeldLock::~HeldLock() { let_go(); }

void HeldLock::let_go() noexcept {
  if (!fd_) return;
  HeldFiles& held = held_files();
  const Exclusive exclusive(held.mutex);
  fd_.reset();
  held.files.erase({device_, inode_});
}

std::optional<HeldLock> HeldLock::acquire(const os::Directory& directory, const std::string& file,
                                          const PeerNote& note, Attempt& attempt, Duration patience) {
  auto lock = try_to_acquire(directory, file, note, attempt);
  const auto is_decided = [&] { return lock || outlook_of(directory, file) == Outlook::taken; };
  if (note.class_name == kClearing || is_decided()) return lock;
  const auto deadline = os::Deadline::after(patience);
  // Before the next look, so that every later change is reported.
  os::DirectoryWatch watch(directory.short_path("."), os::DirectoryWatch::Of::contents);
  do {
    // Only look, do not try: a failed attempt closes the file after writing, which notifies all waiting
    // processes, and this one.
    while (outlook_of(directory, file) == Outlook::soon_free) {
      // The release may go unreported, if a child of the holder inherited the open file; so try once more.
      if (!await_change_of(file, watch, deadline)) return try_to_acquire(directory, file, note, attempt);
    }
    lock = try_to_acquire(directory, file, note, attempt);
  } while (!is_decided() && !deadline.has_passed());
  return lock;
}

std::optional<HeldLock> HeldLock::try_to_acquire(const os::Directory& directory, const std::string& file,
                                                 const PeerNote& note, Attempt& attempt) {
  for (;;) {
    attempt = {};
    HeldFiles& here = held_files();
    const Exclusive exclusive(here.mutex);
    // A record lock does not exclude its own process; a process without locks (a service that starts) need
    // not look.
    const os::FileFacts there = here.files.empty() ? os::FileFacts{} : directory.look(file);
    if (there.kind != os::FileKind::none && here.files.contains(id_of(there))) {
      attempt.holder = os::own_pid();
      return std::nullopt;
    }
    os::UniqueFd fd;
    bool fresh = false;
    fd = directory.open_or_create(file, 0600, &fresh);
    const auto part = note.class_name == kClearing ? os::LockPart::tail : os::LockPart::whole;
    if (os::try_lock(fd.get(), part) == os::LockAttempt::held_by_other) {
      attempt.holder = os::lock_holder(fd.get()).value_or(os::LockHolder{}).pid;
      return std::nullopt;
    }
    // The previous holder may have removed the file between our open and our lock: then we hold a file
    // without a name.
    const os::FileFacts now = directory.look(file), held = os::facts_of(fd.get());
    if (now.kind == os::FileKind::none || id_of(now) != id_of(held)) continue;
    if (!fresh) {
      attempt.left = true;
      LockFacts before;
      read_note(fd.get(), before);
      attempt.left_by = before.written_by;
      os::truncate(fd.get());  // and back to its start
    }
    write_note(fd.get(), note);
    here.files.emplace(id_of(held), HeldFile{part, note});
    HeldLock lock;
    lock.fd_ = std::move(fd);
    lock.file_ = file;
    lock.device_ = held.device;
    lock.inode_ = held.inode;
    return lock;
  }
}

HeldLock HeldLock::replace(const os::Directory& directory, const std::string& file, const PeerNote& note) {
  constexpr std::size_t kLetters = 8;
  const std::string hidden = file + "." + os::random_name(kLetters);
  Attempt attempt;
  auto lock = acquire(directory, hidden, note, attempt);
  if (!lock) throw SystemError(EAGAIN, "lock '" + directory.path() + "/" + hidden + "'");
  {
    const Exclusive exclusive(held_files().mutex);  // no thread may be about to open the file
    directory.rename(hidden, file);
  }
  lock->file_ = file;
  return std::move(*lock);
}

void HeldLock::release(const os::Directory& directory) noexcept {
  if (!fd_) return;
  // Not if another process has taken the lock: then the file is its file.
  try {
    if (id_of(directory.look(file_)) == FileId{device_, inode_}) directory.remove_file(file_);
  } catch (const Error&) {
    // The file stays without a holder.
  }
  let_go();
}

void HeldLock::put_back(Pid left_by) noexcept {
  if (!fd_) return;
  try {
    os::truncate(fd_.get());
    os::write_all(fd_.get(), R"({"pid":)" + std::to_string(left_by) + R"(,"note":""})", "lock file");
  } catch (const Error&) {
    // An empty file means the same as none.
  }
  let_go();
}

LockFacts look_at_lock(const os::Directory& directory, const std::string& file, os::UniqueFd* process) {
  if (process != nullptr) process->reset();
  LockFacts facts;
  HeldFiles& here = held_files();
  const Exclusive exclusive(here.mutex);
  const os::FileFacts there = directory.look(file);
  if (there.kind != os::FileKind::regular) return facts;
  if (const auto ours = here.files.find(id_of(there)); ours != here.files.end()) {
    facts.exists = facts.held = facts.by_us = true;
    facts.pid = facts.written_by = os::own_pid();
    facts.for_clearing = ours->second.part == os::LockPart::tail;
    facts.note = ours->second.note;
    return facts;
  }
  const os::UniqueFd opened = directory.open_existing(file);
  if (!opened) return facts;
  facts.exists = true;
  facts.since = there.modified;
  const auto holder = os::lock_holder(opened.get());
  facts.held = holder.has_value();
  if (holder && holder->pid > 0 && process != nullptr && there.links == 1)
    *process = prove_holder(opened.get(), holder->pid);
  read_note(opened.get(), facts);
  if (!holder) return facts;
  facts.pid = holder->pid;
  facts.for_clearing = holder->part == os::LockPart::tail;
  return facts;
}

std::string why_no_short_paths() noexcept {
  try {
    if (os::look_at("/proc/self/fd").kind != os::FileKind::directory) return "/proc is not mounted";
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace ipcm::transport
