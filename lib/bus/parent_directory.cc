#include "bus/parent_directory.h"

#include "ipcm/error.h"
#include "os/directory.h"
#include "wire/printable.h"
#include "wire/utf8.h"

namespace ipcm::bus {
namespace {

void expect_utf8(const std::string& path, const std::string& name, const std::string& advice) {
  if (!wire::is_utf8(path))
    throw UsageError(name + " is not UTF-8: '" + wire::printable(path) + "'; " + advice);
}

}  // namespace

void check_parent_directory(const SpawnOptions& options) {
  if (!options.route.empty()) return expect_utf8(options.route, "the route", "choose another one");
  if (!options.parent_directory.empty())
    return expect_utf8(options.parent_directory, "the parent directory", "choose another one");
  const std::string place = os::runtime_directory();
  const bool is_runtime = os::environment("XDG_RUNTIME_DIR") == place;
  expect_utf8(place, is_runtime ? "$XDG_RUNTIME_DIR" : "$TMPDIR",
              "set it to a directory whose path is UTF-8");
}

}  // namespace ipcm::bus
