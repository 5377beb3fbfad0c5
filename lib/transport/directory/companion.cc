#include "transport/directory/companion.h"

#include <cerrno>
#include <utility>

#include "ipcm/error.h"
#include "os/clock.h"
#include "os/identity.h"
#include "os/process.h"
#include "transport/directory/directory_transport.h"
#include "transport/directory/route.h"

namespace ipcm::transport {
namespace {

/// As long as the reference allows names where no socket limits them; longer ones are hashed.
constexpr std::size_t kLongestName = 200;

constexpr std::string_view kPin = ".pin";

struct Place {
  std::string parent, file;
};

Place place_of(const std::string& route) {
  const auto slash = route.rfind('/');
  if (slash == std::string::npos) return {".", route};
  return {slash == 0 ? "/" : route.substr(0, slash), route.substr(slash + 1)};
}

std::string companion_of(const std::string& file) { return "." + file + ".ipcm"; }

/// Left by a process that was killed: nobody holds its lock.
bool is_pin_of_the_dead(const os::Directory& directory, const std::string& file) {
  if (!file.ends_with(kPin) || !file.starts_with('.')) return false;
  const LockFacts lock = look_at_lock(directory, file);
  return lock.exists && !lock.held;
}

/// nullopt: somebody has just removed it, empty as it was.
std::optional<os::Directory> open_companion(const std::string& route) {
  const os::FileFacts bus = os::look_at(route);
  if (bus.kind == os::FileKind::none)
    throw BusError("there is no bus at '" + route + "': no such file; its owner may have taken it down");
  if (bus.kind != os::FileKind::regular)
    throw BusError("there is no bus at '" + route + "': it is no file, as this protocol wants it");
  if (bus.owner != os::own_user() && os::own_user() != 0)
    throw BusError("the bus at '" + route + "' belongs to user " + std::to_string(bus.owner) + ", not to us");
  const Place place = place_of(route);
  try {
    const os::Directory parent(place.parent);
    const std::string name = companion_of(place.file);
    try {
      parent.make_directory(name, 0700, true);
    } catch (const SystemError& error) {
      if (error.code() == EEXIST && parent.look(name).kind == os::FileKind::none) return std::nullopt;
      throw;
    }
    auto opened = os::Directory::below(parent, name);
    if (!opened) return std::nullopt;
    // In a directory that others may write to, anybody could have put one there.
    const os::FileFacts facts = opened->facts();
    if ((facts.owner != os::own_user() && os::own_user() != 0) || (facts.mode & 022U) != 0)
      throw BusError("'" + Companion::path_of(route) + "' is not ours alone: it belongs to user " +
                     std::to_string(facts.owner) + ", or others may write to it; remove it");
    return opened;
  } catch (const SystemError& error) {
    throw BusError(std::string("the bus can't be joined: ") + error.what());
  }
}

/// Opened, and with a file in it that keeps others from removing it: .info, or else a pin.
os::Directory pin_companion(const std::string& route, std::string& pin, HeldLock& lock) {
  constexpr int kTries = 100;
  for (int tried = 0; tried < kTries; ++tried) {
    auto directory = open_companion(route);
    if (!directory) continue;
    if (directory->look(Companion::kInfoFile).kind == os::FileKind::regular) return std::move(*directory);
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
  throw BusError("the bus at '" + route + "' can't be joined: '" + Companion::path_of(route) +
                 "' is removed again and again");
}

}  // namespace

Companion::Companion(const std::string& route)
    : route_(route),
      directory_(pin_companion(route, pin_, pin_lock_)),
      names_(kLongestName),
      is_pinned_(!pin_.empty()),
      born_in_(os::generation()) {}

Companion::~Companion() {
  if (!is_pinned_ || born_in_ != os::generation()) return;  // or our parent's
  (void)drop_pin({});
  try {
    const Place place = place_of(route_);
    (void)os::Directory(place.parent).remove_empty_directory(companion_of(place.file));
  } catch (const Error&) {
    // Nobody can reach it any more.
  }
}

std::string Companion::path_of(const std::string& route) {
  const Place place = place_of(route);
  return place.parent + "/" + companion_of(place.file);
}

bool Companion::is_news(std::string_view file) { return !file.ends_with(kPin); }

bool Companion::remove(const std::string& route) noexcept { return os::remove_tree(path_of(route)); }

std::string Companion::lock_of(const std::string& peer) const { return lock_file_of(names_.of(peer)); }

std::optional<HeldLock> Companion::take(const std::string& peer, const std::string& note,
                                        HeldLock::Attempt& attempt) const {
  check_peer_name(peer);
  return HeldLock::acquire(directory_, lock_of(peer), note, attempt);
}

PeerFacts Companion::judge(const std::string& peer, std::optional<Pid> noted, std::optional<double> expires,
                           os::UniqueFd* process) const {
  PeerFacts facts;
  const LockFacts lock = look_at_lock(directory_, lock_of(peer), process);
  if (lock.is_held_for_clearing()) {
    if (process != nullptr) process->reset();  // of the one that clears up
    facts.pid = noted.value_or(0);
    facts.state = PeerFacts::State::dead;
  } else if (lock.held) {
    facts.pid = lock.pid;
    facts.is_us = lock.by_us;
    facts.elsewhere = lock.pid == 0;
    facts.noted = facts.elsewhere ? lock.written_by : 0;
    facts.class_name = lock.note;
    facts.state = noted ? PeerFacts::State::active : PeerFacts::State::present;
  } else if (!noted) {
    facts.expires = expires;
    facts.surely_dead = expires && *expires < os::wall_clock_seconds();
    facts.state = facts.surely_dead ? PeerFacts::State::dead : PeerFacts::State::suspended;
  } else if (lock.exists && lock.written_by == *noted) {
    facts.pid = *noted;
    facts.surely_dead = true;
    facts.state = PeerFacts::State::dead;  // its number may run again, its lock does not
  } else {
    judge_by_number(*noted, facts);
  }
  return facts;
}

void Companion::judge_by_number(Pid noted, PeerFacts& facts) {
  // Our own number: perhaps a member of this process that is not ours.
  const os::Seen seen = noted == os::own_pid() ? os::Seen::runs : os::look_for_process(noted);
  facts.elsewhere = seen == os::Seen::elsewhere;
  (facts.elsewhere ? facts.noted : facts.pid) = noted;
  facts.surely_dead = seen == os::Seen::ended;
  facts.state = seen == os::Seen::runs || facts.elsewhere ? PeerFacts::State::active : PeerFacts::State::dead;
}

bool Companion::is_leftover(Pid noted, const HeldLock::Attempt& attempt) {
  if (attempt.left && noted == attempt.left_by) return true;
  return os::look_for_process(noted) == os::Seen::ended;
}

os::UniqueFd Companion::process_of(const std::string& peer) const {
  os::UniqueFd process;
  const LockFacts lock = look_at_lock(directory_, lock_of(peer), &process);
  return lock.is_held_for_clearing() ? os::UniqueFd() : std::move(process);
}

bool Companion::holds_lock(const std::string& peer) const {
  return look_at_lock(directory_, lock_of(peer)).held;
}

bool Companion::drop_pin(const std::string& but_for) {
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

void Companion::release(HeldLock& lock) const noexcept {
  lock.release(directory_);
  if (os::look_at(route_).kind != os::FileKind::none) return;
  // Who leaves at the same time has released its lock before it looks here, too: the last one finds nobody.
  try {
    for (const std::string& file : directory_.names())
      if (!file.ends_with(kPin) && look_at_lock(directory_, file).held) return;
  } catch (const Error&) {
    return;
  }
  (void)remove(route_);
}

bool Companion::is_orphaned() const {
  if (os::look_at(route_).kind == os::FileKind::none) return true;
  const LockFacts owner = look_at_lock(directory_, Route::kOwnerFile);
  return owner.exists && !owner.held;
}

std::unique_ptr<Ownership> Companion::own(const std::string& route) {
  const Companion here(route);
  return own_by_lock(here.directory().path(), Route::kOwnerFile);
}

OwnerFacts Companion::owner(const std::string& route) {
  return owner_by_lock(path_of(route), Route::kOwnerFile);
}

std::string FileProtocol::make_route(const SpawnOptions& options) const {
  if (!options.route.empty()) {
    if (os::look_at(options.route).kind != os::FileKind::regular)
      throw BusError("the route '" + options.route + "' is no file; make it first (empty, mode 0600)");
    prepare(options.route);
    return options.route;
  }
  const std::string parent =
      options.parent_directory.empty() ? os::runtime_directory() : options.parent_directory;
  std::string route = os::make_private_file(parent, "ipcm-" + std::to_string(os::own_pid()) + "-", suffix());
  try {
    prepare(route);
  } catch (...) {
    (void)os::remove_file(route);
    throw;
  }
  return route;
}

bool FileProtocol::remove_route(const BusInfo& info) const noexcept {
  const bool gone = os::remove_file(info.route);  // first: nobody joins any more
  remove_beside(info.route);
  return Companion::remove(info.route) && gone;
}

std::unique_ptr<Ownership> FileProtocol::own(const BusInfo& info) const { return Companion::own(info.route); }
OwnerFacts FileProtocol::owner(const BusInfo& info) const { return Companion::owner(info.route); }

}  // namespace ipcm::transport
