// Programs that are their own boot binary: B13.

#include <array>
#include <cstdio>
#include <filesystem>

#include "support/peers.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

ServiceOptions self_boot(bool stay_in_begin, const std::string& how = {}) {
  ServiceOptions options;
  options.class_name = "speaker";
  options.exec = Exec{.path = child_program("self_boot"), .env = {{"SELF_BOOT", how}}};
  options.exec->stay_in_begin = stay_in_begin;
  return options;
}

/// Starts a service and ends it. Returns its exit status and its output on stderr.
std::pair<std::optional<ExitStatus>, std::string> end_of(const ServiceOptions& options,
                                                         const std::string& file) {
  const StderrInto into(file);
  Handle handle = ipcm_service("e", options);
  CHECK(handle.sync_request<std::string>("end", kHang) == "ending");
  const auto status = handle.shutdown();
  const std::string said = read_file(file);
  std::filesystem::remove(file);
  return {status, said};
}

}  // namespace

TEST_CASE_FIXTURE(
    Tidy, "B13: stay_in_begin: the service runs inside begin(), and the process ends with its status") {
  const auto [status, said] = end_of(self_boot(true), directory() + "/err");
  CHECK(status == ExitStatus::exited(5));
  CHECK(said.empty());
}

TEST_CASE_FIXTURE(Tidy, "B13: run_returns_to_caller: main() gets the status, and goes on") {
  const auto [status, said] = end_of(self_boot(true, "returns"), directory() + "/err");
  CHECK(status == ExitStatus::exited(105));
  CHECK(said == "going on after 5\n");
}

TEST_CASE_FIXTURE(Tidy, "B13: without stay_in_begin main() serves when it is ready to") {
  const auto [status, said] = end_of(self_boot(false), directory() + "/err");
  CHECK(status == ExitStatus::exited(5));
  CHECK(said == "serving from main\n");
}

TEST_CASE_FIXTURE(Tidy, "B13: begin() leaves a program alone that was not started as a service") {
  const std::string command = child_program("self_boot") + " one two";
  FILE* out = ::popen(command.c_str(), "re");
  REQUIRE(out != nullptr);
  std::array<char, 200> line{};
  CHECK(std::fgets(line.data(), line.size(), out) != nullptr);
  CHECK(std::string(line.data()) == "as itself, with 2 arguments\n");
  CHECK(ExitStatus::from_wait_status(::pclose(out)) == ExitStatus::exited(3));
}

TEST_CASE_FIXTURE(Tidy, "B13: wrong parameters end it as they end any boot binary") {
  ServiceOptions options = self_boot(true);
  options.class_name = "nonesuch";
  const auto error = thrown_by<LaunchError>([&] { (void)ipcm_service("e", options); });
  CHECK(error.status() == ExitStatus::exited(127));
  CHECK(contains(error.what(), "echo, speaker"));
}
