#include "transport/directory/route.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "ipcm/error.h"
#include "os/clock.h"
#include "os/process.h"
#include "transport/directory/standing.h"
#include "transport/presence/mark_file.h"
#include "transport/presence/ownership.h"
#include "transport/presence/peer_locks.h"
#include "transport/presence/statistics_file.h"
#include "wire/number.h"

namespace ipcm::transport {
namespace {

/// Opens the directory and checks the open directory; checks the path only for the reason of a failure.
os::Directory open_route(const std::string& path, bool& is_marked) {
  try {
    os::Directory route(path);
    expect_private(path, route.facts());
    is_marked = expect_bus(route);
    return route;
  } catch (const SystemError& error) {
    const os::FileFacts facts = os::look_at(path);
    if (facts.kind == os::FileKind::none)
      throw BusError("there is no bus at '" + path +
                     "': no such directory; its owner may have taken it down");
    if (facts.kind != os::FileKind::directory)
      throw BusError("there is no bus at '" + path + "': it is no directory, as this protocol wants it");
    expect_private(path, facts);
    throw BusError(std::string("the bus can't be joined: ") + error.what());
  }
}

}  // namespace

Route::Route(const std::string& path, Traits traits)
    : directory_(open_route(path, is_marked_)), names_(traits.longest_name), traits_(std::move(traits)) {}

bool Route::is_endpoint(const os::FileFacts& facts) const {
  return std::find(traits_.endpoints.begin(), traits_.endpoints.end(), facts.kind) !=
             traits_.endpoints.end() &&
         (facts.kind != os::FileKind::regular || facts.size == 0) && directory_.is_trusted(facts);
}

std::optional<Pid> Route::noted_pid(const std::string& disk_name) const {
  constexpr std::size_t kLongest = 64;
  const auto text = directory_.read_note(disk_name + ".pid", kLongest);
  if (!text) return std::nullopt;
  Pid pid = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), pid);
  if (error != std::errc{} || pid <= 0) return std::nullopt;
  return pid;
}

namespace {

/// Returns the facts of a living peer, which holds its lock.
PeerFacts facts_of_holder(const LockFacts& lock, bool receives) {
  PeerFacts facts;
  facts.pid = lock.pid;
  facts.is_us = lock.by_us;
  facts.elsewhere = lock.pid == 0;
  facts.noted = facts.elsewhere ? lock.written_by : 0;
  facts.class_name = lock.note.class_name;
  facts.is_inspectable = lock.note.is_inspectable;
  facts.state = receives ? PeerFacts::State::active : PeerFacts::State::present;
  return facts;
}

}  // namespace

PeerFacts Route::look_at(const std::string& disk_name, bool* has_lock, os::UniqueFd* process) const {
  PeerFacts facts;
  if (!is_endpoint(directory_.look(disk_name))) return facts;
  LockFacts lock = look_at_lock(directory_, lock_file_of(disk_name), process);
  if (lock.held && !lock.is_held_for_clearing()) {
    // The usual case. The kernel names the process id, so the pid file need not be read.
    if (has_lock != nullptr) *has_lock = true;
    return facts_of_holder(lock, directory_.look(disk_name + ".pid").kind == os::FileKind::regular);
  }
  // Read the pid file first: if a peer joins meanwhile, its lock is seen.
  const auto pid = noted_pid(disk_name);
  lock = look_at_lock(directory_, lock_file_of(disk_name), process);
  // A lock file of another process id is a leftover, under a name that a foreign peer has taken since.
  const bool ours = lock.held || (lock.exists && (!pid || *pid == lock.written_by));
  if (has_lock != nullptr) *has_lock = ours;
  if (lock.is_held_for_clearing()) {
    if (process != nullptr) process->reset();  // of the one that clears up
    facts.pid = pid.value_or(0);
    facts.state = PeerFacts::State::dead;
  } else if (lock.held) {
    return facts_of_holder(lock, pid.has_value());
  } else if (ours) {
    facts.pid = pid.value_or(lock.pid);
    facts.class_name = lock.note.class_name;
    facts.since = lock.since;
    facts.surely_dead = true;
    facts.state = PeerFacts::State::dead;
  } else if (!pid && traits_.keeps_messages) {
    // Suspended, or a foreign peer that is joining: for a sender both are equal.
    facts.expires = suspended_until(disk_name);
    facts.surely_dead = facts.expires && *facts.expires < os::wall_clock_seconds();
    facts.state = facts.surely_dead ? PeerFacts::State::dead : PeerFacts::State::suspended;
  } else if (!pid) {
    facts.state = PeerFacts::State::present;
  } else {
    const Foreign foreign = judge_foreign(disk_name, *pid);
    // It has no lock, or its leftovers have just been removed: a killed process loses its lock first, and
    // may still be ending when its files are gone. The lock goes last, so the pid file decides now.
    if (noted_pid(disk_name) != pid) return look_at(disk_name, has_lock, process);
    facts.elsewhere = foreign == Foreign::elsewhere;
    (facts.elsewhere ? facts.noted : facts.pid) = *pid;
    facts.surely_dead = foreign == Foreign::dead;
    facts.state =
        foreign == Foreign::alive || facts.elsewhere ? PeerFacts::State::active : PeerFacts::State::dead;
  }
  return facts;
}

Route::Foreign Route::judge_foreign(const std::string& disk_name, Pid noted) const {
  if (noted != os::own_pid() && os::is_running(noted) && !was_given_away(disk_name, noted))
    return Foreign::alive;
  // No process here wrote that process id. The endpoint shows more than the number can.
  if (traits_.ask_endpoint) {
    const os::Endpoint endpoint = traits_.ask_endpoint(directory_, disk_name);
    if (endpoint == os::Endpoint::dead) return Foreign::dead;
    if (endpoint == os::Endpoint::read) return Foreign::elsewhere;
  }
  if (noted == os::own_pid())
    return Foreign::alive;  // perhaps a member that another library has in this process
  switch (os::look_for_process(noted)) {
    case os::Seen::runs:
      return Foreign::alive;
    case os::Seen::elsewhere:
      return Foreign::elsewhere;
    case os::Seen::ended:
      return Foreign::dead;
    case os::Seen::nowhere:
      break;
  }
  return Foreign::seems_dead;
}

bool Route::was_given_away(const std::string& disk_name, Pid noted) const {
  // A hint and no proof, since clocks can be set. The endpoint decides.
  constexpr double kTick = 0.02;
  const auto began = os::start_time(noted);
  return began && *began > directory_.look(disk_name + ".pid").modified + kTick;
}

Transport::Identified Route::identify(const std::string& peer) const {
  Transport::Identified found;
  found.facts = look_at(names_.of(peer), nullptr, &found.process);
  return found;
}

bool Route::is_ours(const std::string& peer) const {
  const std::string file = names_.of(peer);
  const LockFacts lock = look_at_lock(directory_, lock_file_of(file));
  // The process ids must be equal: a peer of ours that tries to get the name of a foreign peer takes that
  // lock for a moment.
  return lock.held && lock.written_by > 0 && noted_pid(file) == lock.written_by;
}

std::vector<Route::Listed> Route::list(Leftovers leftovers, const FoundDead& found_dead) {
  std::vector<Listed> all;
  for (const std::string& file : directory_.names()) {
    if (!DiskNames::may_be_endpoint(file)) continue;
    Listed one;
    one.facts = look_at(file, &one.has_lock);
    if (one.facts.state == PeerFacts::State::absent) continue;
    if (one.facts.state == PeerFacts::State::dead) {
      if (const auto name = found_dead && one.facts.surely_dead ? real_name(file) : std::nullopt)
        found_dead(*name, one.facts);
      // Messages are never discarded unread: they wait for a successor, or for the end of the bus.
      if (leftovers == Leftovers::clear && one.facts.surely_dead &&
          (!traits_.has_unread || !traits_.has_unread(directory_, file)))
        clear_leftovers(file);
      continue;
    }
    auto real = real_name(file);
    if (!real) continue;
    one.name = std::move(*real);
    all.push_back(std::move(one));
  }
  std::sort(all.begin(), all.end(), [](const Listed& a, const Listed& b) { return a.name < b.name; });
  return all;
}

std::optional<std::string> Route::real_name(const std::string& disk_name) const {
  if (!DiskNames::is_hashed(disk_name)) return disk_name;
  return directory_.read_note(disk_name + ".name");
}

std::optional<double> Route::suspended_until(const std::string& disk_name) const {
  constexpr std::size_t kLongest = 64;
  const auto text = directory_.read_note(disk_name + ".suspend", kLongest);
  double when = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), when).ec != std::errc{})
    return std::nullopt;
  return when;
}

Statistics Route::statistics_of(const std::string& disk_name, const wire::Serializer& how) const {
  constexpr std::size_t kLargest = 64UL * 1024 * 1024;
  const auto text = directory_.read_note(disk_name + ".stats", kLargest);
  return text ? read_statistics(*text, how) : Statistics{};
}

std::map<std::string, Statistics> Route::all_statistics(const wire::Serializer& how) const {
  constexpr std::string_view kSuffix = ".stats";
  std::map<std::string, Statistics> all;
  for (const std::string& file : directory_.names()) {
    if (!file.ends_with(kSuffix) || file.front() == '.') continue;
    const std::string disk_name = file.substr(0, file.size() - kSuffix.size());
    if (const auto name = real_name(disk_name)) all[*name] = statistics_of(disk_name, how);
  }
  return all;
}

bool Route::is_leftover(const std::string& disk_name, const HeldLock::Attempt& attempt) const {
  const auto pid = noted_pid(disk_name);
  // A peer whose lock was free is dead, even if its process id runs again; unless a foreign peer has taken
  // the name since.
  if (attempt.left && (!pid || *pid == attempt.left_by)) return true;
  if (!pid) return false;  // a foreign peer that is joining
  const Foreign foreign = judge_foreign(disk_name, *pid);
  // Our own process id: this process was another program before exec, and the caller knows that the member
  // of that program is gone.
  return foreign == Foreign::dead || (foreign == Foreign::alive && *pid == os::own_pid() &&
                                      os::look_for_process(*pid) == os::Seen::ended);
}

bool Route::remove_all_of(const std::string& disk_name, bool put_back_too) const noexcept {
  // An endpoint that stays without its other files would look like a peer that is starting.
  if (!remove_known(disk_name)) return false;
  for (const char* suffix : {".pid", ".name", ".suspend", ".stats"}) (void)remove_known(disk_name + suffix);
  if (put_back_too) (void)remove_known(disk_name + ".resume");
  return true;
}

bool Route::remove_known(const std::string& file) const noexcept {
  try {
    return remove_known_entry(directory_, file, traits_.endpoints);
  } catch (const Error&) {
    return false;
  }
}

void Route::clear_leftovers(const std::string& disk_name) const {
  // Hold the lock meanwhile, so that no peer takes the name in between; without the lock, leave the files
  // alone.
  HeldLock::Attempt attempt;
  auto lock = HeldLock::acquire(directory_, lock_file_of(disk_name), HeldLock::kClearing, attempt);
  if (!lock) return;
  if (is_leftover(disk_name, attempt) && !remove_all_of(disk_name))
    lock->put_back(noted_pid(disk_name).value_or(0));  // the next process that lists the bus tries again
  else
    lock->release(directory_);
}

bool Route::is_orphaned() const {
  if (directory_.facts().links == 0) return true;
  const LockFacts owner = look_at_lock(directory_, kOwnerFile);
  return owner.exists && !owner.held;
}

Route::Registration Route::claim(const std::string& name, const PeerNote& note, bool reconnect) {
  check_peer_name(name);
  Registration registration{name, names_.of(name), {}};
  HeldLock::Attempt attempt;
  auto lock = HeldLock::acquire(directory_, lock_file_of(registration.disk_name), note, attempt);
  if (!lock) throw NameTaken(name, attempt.holder, directory_.path());
  registration.lock = std::move(*lock);
  try {
    // A process that removes the bus closes its mark before it looks for locks.
    if (is_marked_ && !has_mark(directory_))
      throw BusError("there is no bus at '" + directory_.path() + "': it is being taken down");
    make_room(registration, attempt, reconnect);
  } catch (...) {
    // A lock file that is left behind would mark a suspended peer as dead; one that existed before goes
    // back as it was.
    if (attempt.left)
      registration.lock.put_back(attempt.left_by);
    else
      registration.lock.release(directory_);
    throw;
  }
  return registration;
}

void Route::make_room(Registration& registration, const HeldLock::Attempt& attempt, bool reconnect) const {
  if (directory_.look(registration.disk_name).kind != os::FileKind::none) {
    const auto pid = noted_pid(registration.disk_name);
    const bool away = traits_.keeps_messages && !pid && !attempt.left;
    const bool expired =
        away && suspended_until(registration.disk_name).value_or(1e300) < os::wall_clock_seconds();
    const bool leftover = is_leftover(registration.disk_name, attempt);
    if (!leftover && !expired && !(away && reconnect)) {
      registration.lock.release(directory_);
      if (away)
        throw NameTaken("the name '" + registration.name +
                        "' is that of a suspended peer; take it up with ipcm_reconnect");
      throw NameTaken(registration.name, pid.value_or(0), directory_.path());
    }
    if (!reconnect || expired || !traits_.keeps_messages) {
      // A program that became another one by exec gets the messages that it put back for that.
      const bool was_us = pid && *pid == os::own_pid() && is_younger_than_us(registration.disk_name);
      (void)remove_all_of(registration.disk_name, !was_us);
    }
  }
  if (traits_.keeps_messages) directory_.remove_file(registration.disk_name + ".suspend");
}

bool Route::is_younger_than_us(const std::string& disk_name) const {
  // Within a clock tick, the unit in which the kernel gives the start of a process.
  constexpr double kTick = 0.02;
  const auto began = os::start_time(os::own_pid());
  return began && directory_.look(disk_name + ".pid").modified >= *began - kTick;
}

void Route::announce(const Registration& registration) const {
  if (DiskNames::is_hashed(registration.disk_name))
    directory_.write_file(registration.disk_name + ".name", registration.name);
  directory_.write_file(registration.disk_name + ".pid", std::to_string(os::own_pid()));
}

void Route::vacate(Registration& registration, const std::string& statistics,
                   const std::function<void()>& closing) const noexcept {
  try {
    if (!statistics.empty()) directory_.write_file(registration.disk_name + ".stats", statistics);
  } catch (const Error&) {
    // The route is being removed, or the disk is full: leaving goes on.
  }
  try {
    if (closing) closing();
  } catch (const Error&) {
    // As above.
  }
  // The endpoint goes after them: once it is gone, others may read the statistics, or remove the directory.
  if (!remove_known(registration.disk_name)) {
    // The pid file and the lock file stay as after a death: the next process that lists the bus removes all
    // three.
    registration.lock.put_back(os::own_pid());
    return;
  }
  directory_.remove_file(registration.disk_name + ".pid");
  try {
    if (statistics.empty() && directory_.look(registration.disk_name + ".resume").kind == os::FileKind::none)
      directory_.remove_file(registration.disk_name + ".name");
  } catch (const Error&) {
    // The name file stays; no peer has that name.
  }
  registration.lock.release(directory_);
}

void Route::suspend(Registration& registration, const std::string& statistics,
                    std::optional<double> expires) const {
  directory_.write_file(registration.disk_name + ".stats", statistics);
  if (expires) {
    directory_.write_file(registration.disk_name + ".suspend", wire::fixed_number(*expires));
  }
  directory_.remove_file(registration.disk_name + ".pid");
  registration.lock.release(directory_);
}

}  // namespace ipcm::transport
