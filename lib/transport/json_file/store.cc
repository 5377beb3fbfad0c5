#include "transport/json_file/store.h"

#include "ipcm/error.h"
#include "os/directory.h"
#include "os/file_lock.h"
#include "os/pipe.h"
#include "os/time_limit.h"
#include "wire/number.h"

namespace ipcm::transport {
namespace {

constexpr const char* kWhat = "the file of the bus";

}  // namespace

JsonStore::JsonStore(const std::string& route) : route_(route), sidecar_(route) {}

JsonStore::~JsonStore() {
  constexpr std::chrono::milliseconds kPatience{100};
  try {
    // A process that opens the journal holds the lock of the file; if the file is gone, no process needs
    // the journal. If two members leave at once, the second finds no journal.
    const os::UniqueFd file = os::open_file(route_, os::Access::write);
    if (file && !os::lock_whole_file(file.get(), os::LockKind::exclusive, os::Deadline::after(kPatience)))
      return;
    if (!sidecar_.drop_pin(kJournal)) return;
    if (!file || sidecar_.directory().look(kJournal).size == 0) sidecar_.directory().remove_file(kJournal);
  } catch (const Error&) {
    // The journal stays for the next member.
  }
}

void JsonStore::open_journal() {
  // Stays open from then on: making and removing it each time would look like joining and leaving to
  // processes that watch the directory.
  bool made = false;
  if (!journal_) journal_ = sidecar_.directory().open_or_create(kJournal, 0600, &made);
}

namespace {

/// Opens and locks the file of a bus that has no sidecar yet. Throws BusError.
os::UniqueFd open_locked(const std::string& route, os::Access access, os::LockKind kind) {
  os::UniqueFd file = os::open_file(route, access);
  if (!file) throw BusError("there is no file '" + route + "'");
  if (!os::lock_whole_file(file.get(), kind, os::limited(std::chrono::seconds(10))))
    throw BusError("the file '" + route + "' is locked by a process that does not release it");
  return file;
}

}  // namespace

void JsonStore::prepare(const std::string& route) {
  const os::UniqueFd file = open_locked(route, os::Access::write, os::LockKind::exclusive);
  if (os::facts_of(file.get()).size == 0) os::rewrite(file.get(), JsonDocument{}.text(), kWhat);
}

bool JsonStore::is_bus(const std::string& route) {
  const os::UniqueFd file = open_locked(route, os::Access::read, os::LockKind::shared);
  try {
    return JsonDocument::parse(os::read_from_start(file.get(), kLargestFile, kWhat)).is_that_of_a_bus();
  } catch (const ProtocolError&) {
    return false;
  }
}

void JsonStore::empty(const std::string& route) {
  os::truncate(open_locked(route, os::Access::write, os::LockKind::exclusive).get());
}

/// Returns the text in the journal; empty: there is none, or it is incomplete.
std::string JsonStore::journalled() {
  open_journal();
  if (os::facts_of(journal_.get()).size == 0) return {};
  const std::string text = os::read_from_start(journal_.get(), kLargestFile, "journal of the bus");
  const auto line = text.find('\n');
  if (line == std::string::npos) return {};
  if (wire::number_from<std::size_t>(text.substr(0, line)) != text.size() - line - 1) return {};
  return text.substr(line + 1);
}

bool JsonStore::load(int file, JsonDocument& document) {
  const os::FileFacts facts = os::facts_of(file);
  if (facts.links == 0) return false;
  document = parse(file);
  device_ = facts.device;
  inode_ = facts.inode;
  return true;
}

bool JsonStore::was_replaced() const {
  const os::FileFacts facts = os::look_at(route_);
  return inode_ != 0 && (facts.device != device_ || facts.inode != inode_);
}

JsonDocument JsonStore::parse(int file) {
  const std::string text = os::read_from_start(file, kLargestFile, kWhat);
  try {
    if (!text.empty()) return JsonDocument::parse(text);
  } catch (const ProtocolError&) {
    if (journalled().empty()) throw;
  }
  const std::string kept = journalled();
  return JsonDocument::parse(kept);  // an empty file without a journal is an empty bus
}

void JsonStore::write(int file, const std::string& text) {
  open_journal();
  const std::string head = std::to_string(text.size()) + "\n";
  os::rewrite(journal_.get(), head + text, "journal of the bus");
  os::rewrite(file, text, kWhat);
  os::truncate(journal_.get());
}

JsonStore::Result JsonStore::read(const std::function<void(const JsonDocument&)>& look,
                                  os::Deadline deadline) {
  // Opens the file each time, as the reference does: closing a file that was open for writing wakes the
  // others, and releases the lock.
  const os::UniqueFd file = os::open_file(route_, os::Access::read);
  if (!file) return Result::gone;
  if (!os::lock_whole_file(file.get(), os::LockKind::shared, deadline)) return Result::busy;
  JsonDocument document;
  if (!load(file.get(), document)) return Result::gone;
  look(document);
  return Result::done;
}

JsonStore::Result JsonStore::change(const std::function<bool(JsonDocument&)>& change, os::Deadline deadline) {
  // Locks through a read-only descriptor: closing it wakes no process. Otherwise an attempt that finds the
  // file locked would make all readers read it again, and they would lock it against the next attempt.
  const os::UniqueFd locked = os::open_file(route_, os::Access::read);
  if (!locked) return Result::gone;
  if (!os::lock_whole_file(locked.get(), os::LockKind::exclusive, deadline)) return Result::busy;
  JsonDocument document;
  if (!load(locked.get(), document)) return Result::gone;
  if (!change(document)) return Result::done;
  const os::UniqueFd file = os::open_file(route_, os::Access::write);
  if (!file || was_replaced()) return Result::gone;
  write(file.get(), document.text());
  os::unlock_whole_file(locked.get());  // before the readers are woken
  return Result::done;
}

}  // namespace ipcm::transport
