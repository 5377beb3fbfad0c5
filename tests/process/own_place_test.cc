// G6: another process removes the files by which a service is found.

#include <cstdlib>
#include <filesystem>

#include "support/peers.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

/// Returns the files and directories of a service "e". Without any one of them, nobody finds the service.
std::vector<std::string> places(const BusInfo& bus) {
  const std::filesystem::path route = bus.route;
  if (bus.protocol == "JSONFile" || bus.protocol == "SQLite") {
    const std::string sidecar = route.parent_path() / ("." + route.filename().string() + ".ipcm");
    return {route, sidecar + "/.e.lock"};
  }
  if (bus.protocol == "MessageFiles") return {route, route / ".e.lock"};
  return {route, route / ".e.lock", route / "e"};
}

bool is_protocol(std::string_view name) {
  const char* protocol = std::getenv("IPCM_PROTOCOL");
  return protocol != nullptr && protocol == name;
}

std::size_t count_of_places() {
  const Guard bus = ipcm_spawn();
  return places(bus.info()).size();
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "G6: a service whose route, endpoint or lock is removed ends with the reason") {
  enum class How { removed, replaced };
  for (std::size_t i = 0; i < count_of_places(); ++i)
    for (const How how : {How::removed, How::replaced}) {
      const Guard bus = ipcm_spawn();
      const std::string place = places(bus.info())[i];
      CAPTURE(place);
      const std::string words = directory() + "/words";
      {
        const StderrInto file(words);
        ServiceOptions options = exec_echo();
        options.ipcm_info = bus.info();
        options.detached = true;
        Handle handle = ipcm_service("e", options);
        const Pid pid = handle.service_pid().value();
        await_idle(pid);
        CHECK(handle.sync_request<int>(1, kHang) == 1);
        std::filesystem::rename(place, directory() + "/aside");
        if (how == How::replaced) write_file(place, "somebody else's");
        await_end(pid);
      }
      const std::string told = read_file(words);
      CAPTURE(told);
      CHECK(contains(told, "ends: "));  // a watch or an SQL statement reports it
      std::filesystem::remove_all(directory() + "/aside");
      std::filesystem::remove_all(place);
      std::filesystem::remove(words);
    }
}

// On a bus that is one file, the client itself checks the file, so that a request may not reach the service.
TEST_CASE_FIXTURE(Tidy, "G6: a service that ends with its owner finds out with a later request" *
                            doctest::skip(is_protocol("SQLite") || is_protocol("JSONFile"))) {
  const Guard bus = ipcm_spawn();
  const std::string place = places(bus.info()).front();
  const std::string words = directory() + "/words";
  {
    const StderrInto file(words);
    ServiceOptions options = exec_echo();
    options.ipcm_info = bus.info();
    Handle handle = ipcm_service("e", options);
    const Pid pid = handle.service_pid().value();
    CHECK(handle.sync_request<int>(1, kHang) == 1);
    std::filesystem::rename(place, directory() + "/aside");
    const auto deadline = os::Deadline::after(kHang);
    CHECK_THROWS_AS(([&] {
                      while (!deadline.has_passed()) (void)handle.sync_request<int>(1, kHang);
                    }()),
                    PeerGone);
    await_end(pid);
  }
  CHECK(contains(read_file(words), "ends: "));
  std::filesystem::remove_all(directory() + "/aside");
  std::filesystem::remove_all(place);
  std::filesystem::remove(words);
}

TEST_CASE_FIXTURE(Tidy, "G6: other files that appear and disappear on a bus end no service") {
  const Guard bus = ipcm_spawn();
  ServiceOptions options = exec_echo();
  options.ipcm_info = bus.info();
  Handle handle = ipcm_service("e", options);
  for (int i = 0; i < 3; ++i) {
    Client other = ipcm_connect("other", bus.info());
    other.send_message("e", 1);
  }
  for (const std::string& place : places(bus.info()))
    std::filesystem::last_write_time(place, std::filesystem::file_time_type::clock::now());
  CHECK(handle.sync_request<int>(1, kHang) == 1);
  await_idle(handle.service_pid().value());
}
