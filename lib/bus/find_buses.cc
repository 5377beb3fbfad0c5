#include "bus/find_buses.h"

#include <algorithm>
#include <charconv>

#include "ipcm/error.h"
#include "os/directory.h"
#include "os/process.h"
#include "transport/bus_note.h"
#include "transport/directory/standing.h"
#include "transport/presence/disk_name.h"
#include "transport/presence/mark_file.h"
#include "transport/protocols.h"

namespace ipcm::bus {
namespace {

using os::FileKind;
using transport::is_made_name;

constexpr std::string_view kOurs = "ipcm-", kSidecarBegin = ".", kSidecarEnd = ".ipcm";

/// Returns the name of the bus to which a sidecar belongs; for any other name, the name itself.
std::string name_of_bus(const std::string& name) {
  const std::size_t around = kSidecarBegin.size() + kSidecarEnd.size();
  if (!name.starts_with(kSidecarBegin) || !name.ends_with(kSidecarEnd) || name.size() <= around) return name;
  return name.substr(kSidecarBegin.size(), name.size() - around);
}

bool is_name_of_bus(const std::string& name) {
  for (const transport::Protocol* protocol : transport::protocols())
    for (const std::string_view prefix : {"ipcm-", "PerlIPCManager-", "PerlIPCMgr-"})
      if (is_made_name(name, prefix, protocol->suffix())) return true;
  return false;
}

/// Whether the process whose number stands in a name of ours has ended: it does not run, or it was started
/// after the file was changed for the last time.
bool maker_has_ended(const std::string& name, double changed) {
  if (!name.starts_with(kOurs)) return false;
  Pid pid = 0;
  std::from_chars(name.data() + kOurs.size(), name.data() + name.size(), pid);
  if (pid <= 0) return false;
  if (!os::is_running(pid)) return true;
  constexpr double kTick = 0.02;  // the resolution in which the kernel notes the start of a process
  const auto began = os::start_time(pid);
  return began && *began > changed + kTick;
}

}  // namespace

std::vector<FoundBus> find_buses() {
  std::vector<FoundBus> all;
  for (const std::string& where : os::runtime_directories()) {
    if (os::look_at(where).kind != FileKind::directory) continue;
    std::vector<std::string> names;
    try {
      const os::Directory directory(where);
      for (const std::string& file : directory.names()) {
        const std::string name = name_of_bus(file);
        if (is_name_of_bus(name) && directory.look(file).owner == os::own_user()) names.push_back(name);
      }
    } catch (const SystemError& error) {
      if (os::is_shortage(error.code())) throw;
      continue;  // not for us to read
    }
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    for (const std::string& name : names) {
      std::string path = where;
      path.append("/").append(name);
      all.push_back({where, name, std::move(path)});
    }
  }
  std::sort(all.begin(), all.end(), [](const FoundBus& a, const FoundBus& b) { return a.path < b.path; });
  return all;
}

std::optional<BusInfo> bus_at(const FoundBus& found) {
  const os::FileFacts facts = os::Directory(found.directory).look(found.name);
  if ((facts.kind != FileKind::directory && facts.kind != FileKind::regular) || facts.owner != os::own_user())
    return std::nullopt;
  try {
    return transport::read_route_info(found.path);
  } catch (const BusError&) {
    return std::nullopt;
  }
}

bool is_being_removed(const FoundBus& found) {
  const auto bus = os::Directory::below(os::Directory(found.directory), found.name);
  return bus && !transport::has_mark(*bus) &&
         transport::standing_of(*bus).is == transport::Standing::Is::closed;
}

bool remove_remains(const FoundBus& found) {
  const os::Directory directory(found.directory);
  os::FileFacts facts = directory.look(found.name);
  if (facts.kind == FileKind::none)
    facts = directory.look(std::string(kSidecarBegin) + found.name + std::string(kSidecarEnd));
  if (facts.owner != os::own_user()) return false;
  // Another process has begun to remove it. Any process may continue that.
  if (const auto bus = os::Directory::below(directory, found.name)) {
    const transport::Standing standing = transport::standing_of(*bus);
    if (standing.is == transport::Standing::Is::closed) {
      BusInfo info = *standing.info;
      info.route = found.path;
      return transport::find_protocol(info.protocol).remove_route(info, transport::Living::spare).is_gone;
    }
  }
  if (!maker_has_ended(found.name, facts.modified)) return false;
  for (const transport::Protocol* protocol : transport::protocols())
    if (protocol->remove_unfinished(found.directory, found.name)) return true;
  return false;
}

}  // namespace ipcm::bus
