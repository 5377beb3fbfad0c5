// What the options say of the bus and of the boot binary.

#include "options.h"
#include "os/directory.h"
#include "os/process.h"

namespace ipcm::launcher {

BusInfo Options::bus_info() const {
  const std::string text = bus.empty() ? os::environment("IPCM_INFO").value_or("") : bus;
  if (text.empty())
    throw UsageError(
        "no bus is given: set IPCM_INFO (eval \"$(ipcm bus new)\"), run inside `ipcm session`, or use --bus "
        "INFO");
  try {
    const bool is_path =
        text.find('/') != std::string::npos && !text.starts_with('[') && !text.starts_with('"');
    if (!is_path) return BusInfo::parse(text);
    if (const auto info = bus_at(text)) return *info;
    throw BusError("there is no bus at '" + text + "'");
  } catch (const ProtocolError& error) {
    throw UsageError(std::string(bus.empty() ? "$IPCM_INFO: " : "--bus: ") + error.what());
  } catch (const SystemError& error) {
    throw BusError("the bus at '" + text + "' can't be read: " + error.what());
  }
}

SpawnOptions Options::spawn_options() const {
  SpawnOptions spawn;
  if (!protocol.empty()) spawn.protocols = {protocol};
  spawn.route = route;
  spawn.term_time = std::chrono::seconds(5);  // short, because a person waits
  spawn.credentials.user = user;
  if (serializer.empty()) return spawn;
  spawn.serializer = serializer;
  if (!serializer.starts_with('[')) return spawn;
  try {
    const BusInfo info = BusInfo::parse(R"(["",)" + serializer + R"(,""])");
    spawn.serializer = info.serializer;
    spawn.serializer_options = info.serializer_options;
  } catch (const ProtocolError&) {
    throw UsageError("--serializer wants a name, or [\"NAME\",\"option\",value,…], found '" + serializer +
                     "'");
  }
  return spawn;
}

std::string Options::boot_path() const {
  if (!boot.empty()) return boot;
  if (const auto given = os::environment("IPCM_BOOT"); given && !given->empty()) return *given;
  // An installed ipcm has it in the same folder, a build tree in the folder boot.
  const std::string self = os::own_executable();
  const std::string here = self.substr(0, self.rfind('/'));
  for (const std::string& candidate : {here + "/ipcm-boot", here + "/../boot/ipcm-boot"})
    if (os::why_not_executable(candidate) == 0) return candidate;
  return {};  // the library looks in its installation directory, then on $PATH
}

}  // namespace ipcm::launcher
