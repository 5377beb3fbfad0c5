#include "ipcm/obituary.h"

#include <algorithm>
#include <utility>

#include "bus/obituary_file.h"
#include "bus/service_log.h"
#include "ipcm/error.h"
#include "os/directory.h"
#include "os/signals.h"
#include "transport/file/sidecar.h"
#include "transport/presence/disk_name.h"
#include "transport/presence/lock_file.h"

namespace ipcm {
namespace {

constexpr std::string_view kLockSuffix = ".lock";

std::string file_of(const BusInfo& info, std::string_view service) {
  return bus::file_of_launcher(info, std::string(service), bus::kObituarySuffix);
}

/// Opens the directory of the obituaries; nullopt: there is none.
std::optional<os::Directory> open_place(const BusInfo& info) {
  std::string place = bus::directory_of_launcher(info);
  if (os::look_at(place).kind != os::FileKind::directory) return std::nullopt;
  return os::Directory(std::move(place));
}

/// Returns the obituary of a service that still has its lock file: it had that process, and died. nullopt: it is none.
std::optional<Obituary> from_lock(const os::Directory& directory, const std::string& file, Pid pid) {
  if (!file.starts_with('.') || !file.ends_with(kLockSuffix)) return std::nullopt;
  const auto lock = transport::look_at_lock(directory, file);
  if (!lock.exists || lock.held || lock.written_by != pid || lock.note.class_name.empty() ||
      lock.note.class_name == transport::HeldLock::kClearing)
    return std::nullopt;
  Obituary obituary;
  obituary.name = file.substr(1, file.size() - 1 - kLockSuffix.size());
  if (transport::DiskNames::is_hashed(obituary.name))
    obituary.name = directory.read_note(obituary.name + ".name").value_or(std::string());
  if (obituary.name.empty()) return std::nullopt;
  obituary.class_name = lock.note.class_name;
  obituary.pid = pid;
  return obituary;
}

}  // namespace

std::string Obituary::how() const {
  if (!status) return "status unknown";
  if (status->how == ExitStatus::How::exited) return "exited with status " + std::to_string(status->value);
  const std::string signal = os::signal_name(status->value);
  return "killed by signal " + std::to_string(status->value) + (signal.empty() ? "" : " (" + signal + ")") +
         (status->core_dumped ? ", core dumped" : "");
}

std::string Obituary::last_line() const { return last_words.substr(last_words.rfind('\n') + 1); }

std::vector<Obituary> obituaries(const BusInfo& info) {
  std::vector<Obituary> all;
  const auto directory = open_place(info);
  if (!directory) return all;
  for (const std::string& file : directory->names()) {
    if (!file.starts_with('.') || !file.ends_with(bus::kObituarySuffix)) continue;
    auto one = bus::read_obituary(*directory, file);
    if (one && file_of(info, one->name) == file) all.push_back(std::move(*one));
  }
  std::sort(all.begin(), all.end(), [](const Obituary& a, const Obituary& b) {
    return a.ended != b.ended ? a.ended < b.ended : a.name < b.name;
  });
  return all;
}

std::optional<Obituary> obituary_of(const BusInfo& info, std::string_view service) {
  const auto directory = open_place(info);
  auto one = directory ? bus::read_obituary(*directory, file_of(info, service)) : std::nullopt;
  if (one && one->name != service) one.reset();
  return one;
}

bool record_end(const BusInfo& info, Pid pid, const ExitStatus& status) noexcept try {
  const auto directory = open_place(info);
  if (!directory || pid <= 0) return false;
  for (const std::string& file : directory->names()) {
    auto obituary = from_lock(*directory, file, pid);
    if (!obituary && file.starts_with('.') && file.ends_with(bus::kObituarySuffix)) {
      // Another process has removed the files of the service already, and could not know its status.
      obituary = bus::read_obituary(*directory, file);
      if (obituary && (obituary->pid != pid || obituary->status)) obituary.reset();
    }
    if (!obituary) continue;
    obituary->status = status;
    obituary->why_unknown.clear();
    return bus::keep_obituary(info, std::move(*obituary));
  }
  return false;
} catch (const std::exception&) {
  return false;
}

void forget_obituary(const BusInfo& info, std::string_view service) noexcept try {
  if (!info.route.starts_with('/')) {  // a server's
    if (const auto directory = open_place(info)) directory->remove_file(file_of(info, service));
    return;
  }
  // By its path, without a look at the directory: a service that starts calls this.
  const std::string file = "/" + file_of(info, service);
  if (!os::remove_file(info.route + file)) os::remove_file(transport::Sidecar::path_of(info.route) + file);
} catch (const std::exception&) {
  return;
}

}  // namespace ipcm
