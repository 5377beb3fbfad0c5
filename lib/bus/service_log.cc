#include "bus/service_log.h"

#include <algorithm>
#include <exception>

#include "bus/obituary_file.h"
#include "ipcm/error.h"
#include "ipcm/service_log.h"
#include "os/directory.h"
#include "os/log_reader.h"
#include "os/rolling_log.h"
#include "transport/bus_note.h"
#include "transport/directory/standing.h"
#include "transport/file/sidecar.h"
#include "transport/presence/disk_name.h"
#include "transport/presence/mark_file.h"
#include "wire/last_words.h"

namespace ipcm {
namespace bus {
namespace {

constexpr const char* kLogSuffix = ".log";

bool is_directory(const std::string& path) { return os::look_at(path).kind == os::FileKind::directory; }

/// Returns the directory of logs on the bus itself; empty: it has none.
std::string beside(const BusInfo& info) {
  if (!info.route.starts_with('/')) return {};  // a server's
  if (is_directory(info.route)) return info.route;
  std::string sidecar = transport::Sidecar::path_of(info.route);
  return is_directory(sidecar) ? sidecar : std::string();
}

/// Returns the directory in which programs of this user keep their state.
std::string state_directory() {
  if (const auto given = os::environment("XDG_STATE_HOME"); given && given->starts_with('/'))
    return *given + "/ipcm";
  if (const auto home = os::environment("HOME"); home && home->starts_with('/'))
    return *home + "/.local/state/ipcm";
  return os::runtime_directory() + "/ipcm-state-" + std::to_string(os::own_user());
}

/// One directory for each bus, whatever is in its route.
std::string elsewhere(const BusInfo& info) {
  constexpr std::size_t kAlwaysHashed = 0;
  return state_directory() + "/" + transport::DiskNames(kAlwaysHashed).of(info.protocol + "\n" + info.route);
}

}  // namespace

std::string directory_of_launcher(const BusInfo& info) {
  std::string on_bus = beside(info);
  return on_bus.empty() ? elsewhere(info) : on_bus;
}

std::string file_of_launcher(const BusInfo& info, const std::string& service, const char* suffix) {
  return "." + transport::DiskNames(transport::longest_socket_name(info.route)).of(service) + suffix;
}

std::string make_log_path(const BusInfo& info, const std::string& name) {
  return service_log_directory(info) + "/" + file_of_launcher(info, name, kLogSuffix);
}

void remove_logs_elsewhere(const BusInfo& info) noexcept {
  try {
    const std::string directory = elsewhere(info);
    const os::FileFacts facts = os::look_at(directory);
    if (facts.kind != os::FileKind::directory || facts.owner != os::own_user()) return;
    {
      const os::Directory logs(directory);
      for (const std::string& name : logs.names())
        if (name.ends_with(kLogSuffix) || name.ends_with(std::string(kLogSuffix) + os::RollingLog::kOlder) ||
            name.ends_with(kParametersSuffix) || name.ends_with(kObituarySuffix))
          logs.remove_file(name);
    }
    (void)os::Directory(state_directory()).remove_empty_directory(directory.substr(directory.rfind('/') + 1));
  } catch (const Error&) {  // a leftover log does no harm
  }
}

}  // namespace bus

std::string service_log_path(const BusInfo& info, std::string_view service) {
  return bus::directory_of_launcher(info) + "/" +
         bus::file_of_launcher(info, std::string(service), bus::kLogSuffix);
}

std::string service_log_directory(const BusInfo& info) {
  std::string directory = bus::beside(info);
  if (directory.empty()) {
    directory = bus::elsewhere(info);
    os::make_private_path(directory);
  } else if (directory == info.route &&
             os::look_at(directory + "/" + transport::kMarkFile).kind != os::FileKind::regular) {
    (void)transport::expect_bus(os::Directory(directory));  // throws unless the directory is a bus
  }
  return directory;
}

std::vector<std::string> service_logs_in(const std::string& directory) {
  std::vector<std::string> paths;
  if (!bus::is_directory(directory)) return paths;
  const os::Directory logs(directory);
  for (const std::string& name : logs.names())
    if (name.starts_with('.') && name.ends_with(bus::kLogSuffix))
      paths.push_back(std::string(directory).append("/").append(name));
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string service_last_words(const BusInfo& info, std::string_view service) noexcept {
  constexpr std::size_t kLooked = 4096;
  constexpr auto kRelayTime = std::chrono::seconds(1);
  try {
    os::LogReader log(service_log_path(info, service));
    (void)log.await_writers(os::Deadline::after(kRelayTime));  // the relay may not have written all yet
    std::string text = log.read_all();
    if (text.size() > kLooked) text.erase(0, text.size() - kLooked);
    return wire::last_words(text);
  } catch (const std::exception&) {
    return {};
  }
}

}  // namespace ipcm
