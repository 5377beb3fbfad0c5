#include "transport/file/sidecar.h"

#include <cerrno>
#include <utility>

#include "ipcm/error.h"
#include "os/clock.h"
#include "os/identity.h"
#include "os/process.h"
#include "transport/presence/entries.h"
#include "transport/presence/mark_file.h"
#include "transport/presence/ownership.h"
#include "transport/presence/peer_locks.h"

namespace ipcm::transport {
namespace {

constexpr std::string_view kPin = ".pin";

struct ParentAndFile {
  std::string parent, file;
};

ParentAndFile split_path(const std::string& route) {
  const auto slash = route.rfind('/');
  if (slash == std::string::npos) return {".", route};
  return {slash == 0 ? "/" : route.substr(0, slash), route.substr(slash + 1)};
}

std::string sidecar_of(const std::string& file) { return "." + file + ".ipcm"; }

/// Returns whether a file is a pin that a killed process left: no process holds its lock.
bool is_pin_of_the_dead(const os::Directory& directory, const std::string& file) {
  if (!file.ends_with(kPin) || !file.starts_with('.')) return false;
  const LockFacts lock = look_at_lock(directory, file);
  return lock.exists && !lock.held;
}

/// Throws BusError unless the route is a plain file that can be a bus of ours.
os::FileFacts expect_file(const std::string& route) {
  const ParentAndFile path = split_path(route);
  os::FileFacts bus;
  try {
    bus = os::Directory(path.parent).look(path.file);
  } catch (const SystemError& error) {
    if (os::is_shortage(error.code())) throw;  // else the directory is not there, and so the file is not
  }
  if (bus.kind == os::FileKind::none)
    throw BusError("there is no bus at '" + route + "': no such file; its owner may have taken it down");
  if (bus.kind != os::FileKind::regular)
    throw BusError("there is no bus at '" + route + "': it is no file, as this protocol wants it");
  if (bus.owner != os::own_user() && os::own_user() != 0)
    throw BusError("the bus at '" + route + "' belongs to user " + std::to_string(bus.owner) + ", not to us");
  constexpr unsigned kOthersWrite = 022;
  if ((bus.mode & kOthersWrite) != 0)
    throw BusError("the bus at '" + route + "' is refused: other users can write to that file (chmod go-w)");
  if (bus.links > 1)
    throw BusError("the bus at '" + route + "' is refused: that file has a second name (a hard link)");
  return bus;
}

/// Throws BusError for a sidecar that another user may have made, if others can write to the parent
/// directory. A sidecar must belong to the user of the bus (this user, or any user if we are root), and no
/// other user may write to it.
void expect_sidecar(const std::string& route, const os::FileFacts& bus, const os::FileFacts& sidecar) {
  constexpr unsigned kOthersWrite = 022;
  const bool is_theirs = sidecar.owner == bus.owner || (sidecar.owner == 0 && os::own_user() == 0);
  if (is_theirs && (sidecar.mode & kOthersWrite) == 0) return;
  throw BusError("'" + Sidecar::path_of(route) + "' is not ours alone: it belongs to user " +
                 std::to_string(sidecar.owner) + ", or others may write to it; remove it");
}

/// Opens or makes the sidecar; nullopt: another process has just removed it, since it was empty.
std::optional<os::Directory> open_sidecar(const std::string& route) {
  try {
    const os::FileFacts bus = expect_file(route);
    const ParentAndFile path = split_path(route);
    const os::Directory parent(path.parent);
    const std::string name = sidecar_of(path.file);
    // Root makes none for the bus of another user, whose own peers could not use it.
    if (bus.owner == os::own_user()) {
      try {
        parent.make_directory(name, 0700, true);
      } catch (const SystemError& error) {
        if (error.code() == EEXIST && parent.look(name).kind == os::FileKind::none) return std::nullopt;
        throw;
      }
    }
    auto opened = os::Directory::below(parent, name);
    if (opened) {
      expect_sidecar(route, bus, opened->facts());
    } else if (bus.owner != os::own_user()) {
      throw BusError("the bus at '" + route + "' belongs to user " + std::to_string(bus.owner) +
                     ", and has no '" + Sidecar::path_of(route) + "' yet: join it as that user");
    }
    return opened;
  } catch (const SystemError& error) {
    throw BusError(std::string("the bus can't be joined: ") + error.what());
  }
}

/// Opens the sidecar, with a file in it that keeps others from removing it: .info, or else a pin.
os::Directory pin_sidecar(const std::string& route, std::string& pin, HeldLock& lock) {
  constexpr int kTries = 100;
  for (int tried = 0; tried < kTries; ++tried) {
    auto directory = open_sidecar(route);
    if (!directory) continue;
    if (directory->look(kMarkFile).kind == os::FileKind::regular) return std::move(*directory);
    pin = os::unique_name(".") + std::string(kPin);
    try {
      HeldLock::Attempt attempt;
      auto held = HeldLock::acquire(*directory, pin, "", attempt);
      if (!held) continue;
      lock = std::move(*held);
      return std::move(*directory);
    } catch (const SystemError& error) {
      if (error.code() != ENOENT) throw BusError(std::string("the bus can't be joined: ") + error.what());
    }
  }
  throw BusError("the bus at '" + route + "' can't be joined: '" + Sidecar::path_of(route) +
                 "' is removed again and again");
}

}  // namespace

Sidecar::Sidecar(const std::string& route)
    : route_(route),
      directory_(pin_sidecar(route, pin_, pin_lock_)),
      names_(kLongestName),
      is_pinned_(!pin_.empty()),
      born_in_(os::generation()) {}

Sidecar::~Sidecar() {
  if (!is_pinned_ || born_in_ != os::generation()) return;  // or it belongs to the parent
  (void)drop_pin({});
  try {
    const ParentAndFile path = split_path(route_);
    (void)os::Directory(path.parent).remove_empty_directory(sidecar_of(path.file));
  } catch (const Error&) {
    // The parent directory is gone, or cannot be reached.
  }
}

std::string Sidecar::path_of(const std::string& route) {
  const ParentAndFile path = split_path(route);
  return path.parent + "/" + sidecar_of(path.file);
}

bool Sidecar::is_news(std::string_view file) { return !file.ends_with(kPin); }

Removal Sidecar::remove(const std::string& route) noexcept {
  try {
    const std::string path = path_of(route);
    const std::string parent = path.substr(0, path.rfind('/'));
    const auto directory =
        os::Directory::below(os::Directory(parent.empty() ? "/" : parent), path.substr(path.rfind('/') + 1));
    if (!directory) return true;
    expect_private(path, directory->facts());
    Removal removal(true);
    removal.left = remove_known_entries(*directory, {}, directory->names());
    if (!remove_emptied(*directory) && removal.left.empty()) removal.left = directory->names();
    return removal;
  } catch (const std::exception& error) {
    Removal removal(false);
    removal.why = error.what();
    return removal;
  }
}

bool Sidecar::has_mark(const std::string& route) {
  const ParentAndFile path = split_path(route);
  const auto directory = os::Directory::below(os::Directory(path.parent), sidecar_of(path.file));
  return directory &&
         (transport::has_mark(*directory) || directory->look(kClosedMarkFile).kind == os::FileKind::regular);
}

std::string Sidecar::lock_of(const std::string& peer) const { return lock_file_of(names_.of(peer)); }

std::optional<HeldLock> Sidecar::take(const std::string& peer, const PeerNote& note,
                                      HeldLock::Attempt& attempt) const {
  check_peer_name(peer);
  return HeldLock::acquire(directory_, lock_of(peer), note, attempt);
}

PeerFacts Sidecar::judge(const std::string& peer, std::optional<Pid> noted, std::optional<double> expires,
                         os::UniqueFd* process) const {
  PeerFacts facts;
  const LockFacts lock = look_at_lock(directory_, lock_of(peer), process);
  if (lock.is_held_for_clearing()) {
    if (process != nullptr) process->reset();  // of the process that removes the leftovers
    facts.pid = noted.value_or(0);
    facts.state = PeerFacts::State::dead;
  } else if (lock.held) {
    facts.pid = lock.pid;
    facts.is_us = lock.by_us;
    facts.elsewhere = lock.pid == 0;
    facts.noted = facts.elsewhere ? lock.written_by : 0;
    facts.class_name = lock.note.class_name;
    facts.is_inspectable = lock.note.is_inspectable;
    facts.state = noted ? PeerFacts::State::active : PeerFacts::State::present;
  } else if (!noted) {
    facts.expires = expires;
    facts.surely_dead = expires && *expires < os::wall_clock_seconds();
    facts.state = facts.surely_dead ? PeerFacts::State::dead : PeerFacts::State::suspended;
  } else if (lock.exists && lock.written_by == *noted) {
    facts.pid = *noted;
    facts.class_name = lock.note.class_name;
    facts.since = lock.since;
    facts.surely_dead = true;
    facts.state = PeerFacts::State::dead;  // a new process may have its process id, but not its lock
  } else {
    judge_by_number(*noted, facts);
  }
  return facts;
}

void Sidecar::judge_by_number(Pid noted, PeerFacts& facts) {
  // Our own process id: perhaps a member that another library has in this process.
  const os::Seen seen = noted == os::own_pid() ? os::Seen::runs : os::look_for_process(noted);
  facts.elsewhere = seen == os::Seen::elsewhere;
  (facts.elsewhere ? facts.noted : facts.pid) = noted;
  facts.surely_dead = seen == os::Seen::ended;
  facts.state = seen == os::Seen::runs || facts.elsewhere ? PeerFacts::State::active : PeerFacts::State::dead;
}

bool Sidecar::is_leftover(Pid noted, const HeldLock::Attempt& attempt) {
  if (attempt.left && noted == attempt.left_by) return true;
  return os::look_for_process(noted) == os::Seen::ended;
}

os::UniqueFd Sidecar::process_of(const std::string& peer) const {
  os::UniqueFd process;
  const LockFacts lock = look_at_lock(directory_, lock_of(peer), &process);
  return lock.is_held_for_clearing() ? os::UniqueFd() : std::move(process);
}

bool Sidecar::holds_lock(const std::string& peer) const {
  return look_at_lock(directory_, lock_of(peer)).held;
}

bool Sidecar::drop_pin(const std::string& but_for) {
  if (pin_.empty() || born_in_ != os::generation()) return false;
  bool alone = true, seen = false;
  for (const std::string& file : directory_.names()) {
    if (file == pin_)
      seen = true;
    else if (is_pin_of_the_dead(directory_, file))
      directory_.remove_file(file);
    else if (file != but_for)
      alone = false;
  }
  pin_.clear();
  pin_lock_.release(directory_);
  return alone && seen;  // not seen: the directory could not be listed
}

void Sidecar::release(HeldLock& lock) const noexcept {
  lock.release(directory_);
  // A peer that leaves at the same time releases its lock before it looks here too: so the last one finds
  // no holder.
  try {
    if (os::look_at(route_).kind != os::FileKind::none) return;
    for (const std::string& file : directory_.names())
      if (!file.ends_with(kPin) && look_at_lock(directory_, file).held) return;
  } catch (const Error&) {
    return;
  }
  (void)remove(route_);
}

bool Sidecar::is_orphaned() const {
  if (os::look_at(route_).kind == os::FileKind::none) return true;
  const LockFacts owner = look_at_lock(directory_, kOwnerFile);
  return owner.exists && !owner.held;
}

std::unique_ptr<Ownership> Sidecar::own(const std::string& route) {
  const Sidecar here(route);
  return own_by_lock(here.directory().path(), kOwnerFile);
}

OwnerFacts Sidecar::owner(const std::string& route) { return owner_by_lock(path_of(route), kOwnerFile); }

std::string FileProtocol::make_route(const SpawnOptions& options) const {
  if (!options.route.empty()) return take_route(options.route);
  const std::string parent =
      options.parent_directory.empty() ? os::runtime_directory() : options.parent_directory;
  std::string route = os::make_private_file(parent, "ipcm-" + std::to_string(os::own_pid()) + "-", suffix());
  try {
    prepare(route);
  } catch (...) {
    (void)Sidecar::remove(route);
    (void)os::remove_file(route);
    throw;
  }
  return route;
}

std::string FileProtocol::take_route(const std::string& route) const {
  if (os::look_at(route).kind != os::FileKind::regular)
    throw BusError("the route '" + route + "' is no file; make it first (empty, mode 0600)");
  const os::FileFacts facts = expect_file(route);
  if (facts.owner != os::own_user())
    throw BusError("the route '" + route + "' belongs to user " + std::to_string(facts.owner) +
                   ", not to us");
  const bool is_bus = Sidecar::has_mark(route) || is_bus_without_mark(route);
  if (const std::string why = is_bus || facts.size == 0 ? std::string() : why_not_given(route); !why.empty())
    throw BusError("the route '" + route + "' can't be used: " + why +
                   "; give an empty file of mode 0600, or none");
  if (!Sidecar::has_mark(route)) {
    const Sidecar sidecar(route);
    // Before the mark, so that the file is never taken for one of ours.
    sidecar.directory().write_file(kFoundFile, facts.size == 0 ? "empty" : "used", 0600);
  }
  prepare(route);
  return route.starts_with('/') ? route : os::current_directory() + "/" + route;
}

void FileProtocol::expect_bus(const std::string& route) const {
  (void)expect_file(route);
  if (Sidecar::has_mark(route) || is_bus_without_mark(route)) return;
  throw BusError("there is no bus at '" + route + "': it has no mark of ours, and is no file of protocol " +
                 name());
}

Removal FileProtocol::remove_route(const BusInfo& info, Living living) const noexcept {
  Removal removal(false);
  try {
    const std::string place = Sidecar::path_of(info.route);
    if (os::look_at(info.route).kind == os::FileKind::none) return Sidecar::remove(info.route);
    const os::FileFacts bus = expect_file(info.route);
    expect_bus(info.route);
    std::optional<std::string> found;
    if (const auto directory = os::Directory::below(os::Directory(split_path(info.route).parent),
                                                    sidecar_of(split_path(info.route).file))) {
      expect_sidecar(info.route, bus, directory->facts());
      if (const auto noted = directory->read_note(kMarkFile))
        if (const BusInfo marked = BusInfo::parse(*noted); marked.protocol != info.protocol)
          throw BusError("it is a bus of protocol " + marked.protocol + ", not " + info.protocol);
      if (const auto peer = living == Living::spare ? living_peer(*directory, false) : std::nullopt) {
        removal.living = *peer;
        removal.why = "'" + *peer + "' is on it";
        return removal;
      }
      found = directory->read_note(kFoundFile);
    }
    if (found) {
      empty_route(info.route, *found);
    } else if (!os::remove_file(info.route)) {  // first, so that no peer joins any more
      throw BusError("the file can't be removed");
    }
    if (!found) remove_beside(info.route);
    return Sidecar::remove(info.route);
  } catch (const std::exception& error) {
    removal.why = error.what();
    return removal;
  }
}

bool FileProtocol::remove_unfinished(const std::string& directory, const std::string& file) const {
  if (!is_made_name(file, "ipcm-", suffix())) return false;
  const os::Directory parent(directory);
  const std::string route = directory + "/" + file;
  const auto sidecar = os::Directory::below(parent, sidecar_of(file));
  const os::FileFacts facts = parent.look(file);
  const bool is_there = facts.kind != os::FileKind::none;
  if (sidecar) {
    if (sidecar->facts().owner != os::own_user()) return false;
    if (is_there && transport::has_mark(*sidecar)) return false;  // a bus, whose owner or members see to it
    for (const std::string& name : sidecar->names())
      if (look_at_lock(*sidecar, name).held) return false;
  }
  if (is_there) {
    constexpr unsigned kPrivate = 0600;
    if (facts.kind != os::FileKind::regular || facts.owner != os::own_user() || facts.mode != kPrivate ||
        facts.links > 1 || (facts.size > 0 && !is_bus_without_mark(route)))
      return false;
    parent.remove_file(file);
    remove_beside(route);
  }
  return Sidecar::remove(route).left.empty() && (is_there || sidecar);
}

std::unique_ptr<Ownership> FileProtocol::own(const BusInfo& info) const { return Sidecar::own(info.route); }
OwnerFacts FileProtocol::owner(const BusInfo& info) const { return Sidecar::owner(info.route); }

}  // namespace ipcm::transport
