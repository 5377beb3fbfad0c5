#include "transport/directory/route.h"

#include <algorithm>
#include <charconv>

#include "ipcm/error.h"
#include "os/process.h"

namespace ipcm::transport {
namespace {

os::Directory open_route(const std::string& path) {
  const os::FileFacts facts = os::look_at(path);
  if (facts.kind == os::FileKind::none)
    throw BusError("there is no bus at '" + path + "': no such directory; its owner may have taken it down");
  if (facts.kind != os::FileKind::directory)
    throw BusError("there is no bus at '" + path + "': it is no directory, as this protocol wants it");
  if (facts.owner != os::own_user() && os::own_user() != 0)
    throw BusError("the bus at '" + path + "' belongs to user " + std::to_string(facts.owner) +
                   ", not to us");
  try {
    return os::Directory(path);
  } catch (const SystemError& error) {
    throw BusError(std::string("the bus can't be joined: ") + error.what());
  }
}

}  // namespace

std::string lock_file_of(const std::string& disk_name) { return "." + disk_name + ".lock"; }

Route::Route(const std::string& path, std::size_t longest_name, std::initializer_list<os::FileKind> endpoints)
    : directory_(open_route(path)), names_(longest_name), endpoints_(endpoints) {}

bool Route::is_endpoint(os::FileKind kind) const {
  return std::find(endpoints_.begin(), endpoints_.end(), kind) != endpoints_.end();
}

std::optional<Pid> Route::noted_pid(const std::string& disk_name) const {
  constexpr std::size_t kLongest = 64;
  std::optional<std::string> text;
  try {
    text = directory_.read_file(disk_name + ".pid", kLongest);
  } catch (const Error&) {
    return std::nullopt;
  }
  if (!text) return std::nullopt;
  Pid pid = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), pid);
  if (error != std::errc{} || pid <= 0) return std::nullopt;
  return pid;
}

PeerFacts Route::look_at(const std::string& disk_name, bool* has_lock) const {
  PeerFacts facts;
  if (!is_endpoint(directory_.look(disk_name).kind)) return facts;
  const auto pid = noted_pid(disk_name);
  const LockFacts lock = look_at_lock(directory_, lock_file_of(disk_name));
  // A lock file that another pid wrote is a leftover under a name that a foreign peer has taken since.
  const bool ours = lock.held || (lock.exists && (!pid || *pid == lock.pid));
  if (has_lock != nullptr) *has_lock = ours;
  facts.pid = pid.value_or(ours ? lock.pid : 0);
  if (ours) {
    facts.class_name = lock.note;
    facts.state = !lock.held ? PeerFacts::State::dead
                  : pid      ? PeerFacts::State::active
                             : PeerFacts::State::present;
  } else if (!pid) {
    facts.state = PeerFacts::State::present;
  } else {
    facts.state = os::is_running(*pid) ? PeerFacts::State::active : PeerFacts::State::dead;
  }
  return facts;
}

std::vector<Route::Listed> Route::list() {
  std::vector<Listed> all;
  for (const std::string& file : directory_.names()) {
    if (!DiskNames::may_be_endpoint(file)) continue;
    Listed one;
    one.facts = look_at(file, &one.has_lock);
    if (one.facts.state == PeerFacts::State::absent) continue;
    if (one.facts.state == PeerFacts::State::dead) {
      clear_leftovers(file);
      continue;
    }
    one.name = file;
    if (DiskNames::is_hashed(file)) {
      const auto real = directory_.read_file(file + ".name");
      if (!real) continue;  // just coming, or just going
      one.name = *real;
    }
    all.push_back(std::move(one));
  }
  std::sort(all.begin(), all.end(), [](const Listed& a, const Listed& b) { return a.name < b.name; });
  return all;
}

bool Route::is_leftover(const std::string& disk_name, const HeldLock::Attempt& attempt) const {
  const auto pid = noted_pid(disk_name);
  // Whose lock was free is dead, even if its number runs again; unless somebody foreign has taken the name
  // since.
  if (attempt.left && (!pid || *pid == attempt.left_by)) return true;
  if (!pid) return false;  // somebody foreign who is just coming
  return *pid == os::own_pid() ||
         !os::is_running(*pid);  // our own number, and not our lock: it was given away again
}

void Route::remove_all_of(const std::string& disk_name) const noexcept {
  for (const char* suffix : {"", ".pid", ".name", ".resume", ".suspend", ".stats"})
    directory_.remove_file(disk_name + suffix);
}

void Route::clear_leftovers(const std::string& disk_name) const {
  // Who clears holds the lock meanwhile, so that nobody takes the name in between; who does not get it leaves
  // it alone.
  HeldLock::Attempt attempt;
  auto lock = HeldLock::acquire(directory_, lock_file_of(disk_name), "", attempt);
  if (!lock) return;
  if (is_leftover(disk_name, attempt)) remove_all_of(disk_name);
  lock->release(directory_);
}

bool Route::is_orphaned() const {
  if (directory_.facts().links == 0) return true;
  const LockFacts owner = look_at_lock(directory_, kOwnerFile);
  return owner.exists && !owner.held;
}

Route::Seat Route::claim(const std::string& name, const std::string& note) {
  check_peer_name(name);
  Seat seat{name, names_.of(name), {}};
  HeldLock::Attempt attempt;
  auto lock = HeldLock::acquire(directory_, lock_file_of(seat.disk_name), note, attempt);
  if (!lock) throw NameTaken(name, attempt.holder, directory_.path());
  if (directory_.look(seat.disk_name).kind != os::FileKind::none) {
    if (!is_leftover(seat.disk_name, attempt)) {
      lock->release(directory_);
      throw NameTaken(name, noted_pid(seat.disk_name).value_or(0), directory_.path());
    }
    remove_all_of(seat.disk_name);
  }
  seat.lock = std::move(*lock);
  return seat;
}

void Route::announce(const Seat& seat) const {
  if (DiskNames::is_hashed(seat.disk_name)) directory_.write_file(seat.disk_name + ".name", seat.name);
  directory_.write_file(seat.disk_name + ".pid", std::to_string(os::own_pid()));
}

void Route::vacate(Seat& seat, const std::string& statistics) const noexcept {
  try {
    if (!statistics.empty()) directory_.write_file(seat.disk_name + ".stats", statistics);
  } catch (const Error&) {
    // The route is being removed, or the disk is full: leaving matters more.
  }
  // The endpoint after them: once it is gone, others may read the statistics, or remove the directory.
  directory_.remove_file(seat.disk_name);
  directory_.remove_file(seat.disk_name + ".pid");
  if (statistics.empty()) directory_.remove_file(seat.disk_name + ".name");
  seat.lock.release(directory_);
}

}  // namespace ipcm::transport
