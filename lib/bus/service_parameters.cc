#include "ipcm/service_parameters.h"

#include "bus/service_log.h"
#include "ipcm/error.h"
#include "ipcm/service_log.h"
#include "os/directory.h"

namespace ipcm {
namespace {

constexpr std::size_t kLargest = 256UL * 1024 * 1024;  // as those of a start

std::string file_of_parameters(const BusInfo& info, std::string_view service) {
  return bus::file_of_launcher(info, std::string(service), bus::kParametersSuffix);
}

}  // namespace

void store_service_parameters(const BusInfo& info, std::string_view service, std::string_view text) {
  constexpr unsigned kOwnerOnly = 0600;
  os::Directory(service_log_directory(info)).write_file(file_of_parameters(info, service), text, kOwnerOnly);
}

std::optional<std::string> stored_service_parameters(const BusInfo& info, std::string_view service) {
  const std::string directory = bus::directory_of_launcher(info);
  if (os::look_at(directory).kind != os::FileKind::directory) return std::nullopt;
  return os::Directory(directory).read_note(file_of_parameters(info, service), kLargest);
}

void forget_service_parameters(const BusInfo& info, std::string_view service) noexcept {
  try {
    (void)os::Directory(bus::directory_of_launcher(info)).remove_file(file_of_parameters(info, service));
  } catch (const Error&) {
    // The bus, and the file with it, may have been removed.
  }
}

}  // namespace ipcm
