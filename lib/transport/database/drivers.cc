#include "transport/database/drivers.h"

#include <algorithm>
#include <mutex>
#include <vector>

#include "ipcm/error.h"
#include "os/directory.h"
#include "os/module.h"
#include "os/process.h"
#include "os/standard_streams.h"

namespace ipcm::database {
namespace {

std::vector<std::string> places() {
  std::vector<std::string> all;
  if (auto named = os::environment("IPCM_DRIVERS"); named && !named->empty())
    all.push_back(std::move(*named));
  const std::string program = os::own_executable();
  if (const auto slash = program.rfind('/'); slash != std::string::npos)
    all.push_back(program.substr(0, slash) + "/../drivers");
  all.emplace_back(IPCM_INSTALLED_DRIVERS);
  return all;
}

std::string file_of(const std::string& name) { return "ipcm-driver-" + name + ".so"; }

/// Returns the path of a driver; empty: there is none.
std::string path_of(const std::string& name) {
  for (const std::string& place : places()) {
    std::string path = place;
    path.append("/").append(file_of(name));
    if (os::look_at(path).kind == os::FileKind::regular) return path;
  }
  return {};
}

std::string not_found(const std::string& name) {
  std::string text = "its driver " + file_of(name) + " is not there; looked in";
  for (const std::string& place : places()) text.append(" ").append(place);
  return text + " (build it, install it, or name its folder in $IPCM_DRIVERS)";
}

constexpr const char* kStatic =
    "this program is linked statically and can't load the database driver; link it dynamically, or put a "
    "dynamically linked build of it beside it, under its name with -dynamic at the end";

}  // namespace

std::string why_no_driver(const std::string& name) noexcept {
  try {
    if (!os::can_load_modules()) return kStatic;
    return path_of(name).empty() ? not_found(name) : std::string();
  } catch (const std::exception& error) {
    return error.what();
  }
}

const Driver& load_driver(const std::string& name) {
  static std::mutex mutex;
  static std::map<std::string, const Driver*> loaded;
  const std::lock_guard<std::mutex> guard(mutex);
  if (const auto found = loaded.find(name); found != loaded.end()) return *found->second;
  if (!os::can_load_modules()) throw BusError(std::string("driver ") + name + ": " + kStatic);
  const std::string path = path_of(name);
  if (path.empty()) throw BusError("driver " + name + ": " + not_found(name));
  std::string why;
  const os::Module module = os::Module::load(path, why);
  if (!module)
    throw BusError("driver " + path + " can't be loaded: " + why +
                   " (is the database's client library installed?)");
  void* const entry = module.find(kDriverEntry);
  if (entry == nullptr) throw BusError("driver " + path + " is no driver of ipcm");
  const Driver* driver = reinterpret_cast<DriverEntry>(entry)(kDriverVersion);
  if (driver == nullptr)
    throw BusError("driver " + path + " is of another release of ipcm: install the one of this release");
  loaded.emplace(name, driver);
  return *driver;
}

OwnedSession::OwnedSession(const Driver& driver, const std::map<std::string, std::string>& parameters,
                           os::Deadline deadline, Failure& failure)
    : born_in_(os::generation()) {
  const auto file = parameters.find("file");
  const auto opened = [&]() -> std::vector<int> {
    if (file == parameters.end()) return {};
    try {
      return os::open_descriptors_of(os::look_at(file->second));
    } catch (const SystemError&) {
      return {};  // no /proc: children keep the descriptors that they inherit
    }
  };
  const std::vector<int> before = opened();
  {
    // The socket of the client library must keep its number.
    const os::StandardStreamsHeld held;
    os::QuietWrites quiet_writes;
    quiet_writes.note_unknown();
    session_ = driver.open(parameters, std::max(deadline.poll_timeout(), 0), failure);
  }
  if (!session_) return;
  if (session_->socket() >= 0) opened_.emplace_back(session_->socket());
  for (const int fd : opened())
    if (std::find(before.begin(), before.end(), fd) == before.end()) opened_.emplace_back(fd);
}

OwnedSession& OwnedSession::operator=(OwnedSession&& other) noexcept {
  if (this != &other) {
    close();
    session_ = std::move(other.session_);
    opened_ = std::move(other.opened_);
    born_in_ = other.born_in_;
  }
  return *this;
}

void OwnedSession::close() noexcept {
  for (os::UniqueFd& one : opened_) (void)one.release();  // the session closes them itself
  opened_.clear();
  os::QuietWrites quiet_writes;
  quiet_writes.note_unknown();
  if (is_ours())
    session_.reset();
  else
    (void)session_.release();  // closing it here would end the connection of the parent
}

}  // namespace ipcm::database
