#include "support/tidy.h"

#include <dirent.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>

#include "os/child.h"
#include "os/process.h"

namespace ipcm::test {
namespace {

/// Returns all children of this process, including adopted ones.
std::vector<Pid> children() {
  std::vector<Pid> all;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream list(task.path() / "children");
    for (Pid pid = 0; list >> pid;) all.push_back(pid);
  }
  return all;
}

std::string command_of(Pid pid) {
  std::string text = read_file("/proc/" + std::to_string(pid) + "/cmdline");
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text;
}

}  // namespace

std::chrono::seconds hang_guard() {
  const char* text = std::getenv("IPCM_TEST_PATIENCE");
  if (text == nullptr) return 20s;
  const std::string_view factor = text;
  int times = 0;
  const auto [end, error] = std::from_chars(factor.data(), factor.data() + factor.size(), times);
  if (error != std::errc() || end != factor.data() + factor.size() || times < 1 || times > 1000) {
    std::fprintf(stderr, "IPCM_TEST_PATIENCE wants a whole number from 1 to 1000, found '%s'\n", text);
    std::exit(2);
  }
  return 20s * times;
}

std::vector<std::string> open_descriptors() {
  std::vector<std::string> all;
  const std::string place = "/proc/self/fd";
  for (const std::string& name : names_in(place)) {
    std::array<char, 4096> target{};
    const auto size = ::readlink((place + "/" + name).c_str(), target.data(), target.size());
    const std::string leads(target.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    if (leads.find("/proc/") == std::string::npos)
      all.push_back(name + " -> " + leads);  // without the descriptor of this listing
  }
  std::sort(all.begin(), all.end());
  return all;
}

std::vector<std::string> lasting_descriptors() {
  std::vector<std::string> all;
  for (const std::string& one : open_descriptors()) {
    const std::string leads = one.substr(one.find(" -> ") + 4);
    const bool is_lasting = !leads.empty() && leads.find("timerfd") == std::string::npos &&
                            leads.find("inotify") == std::string::npos;
    if (is_lasting) all.push_back(leads);  // numbers depend on the order of opening
  }
  std::sort(all.begin(), all.end());
  return all;
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> all;
  DIR* list = ::opendir(directory.c_str());
  if (list == nullptr) return all;
  while (const dirent* entry = ::readdir(list))
    if (const std::string name = entry->d_name; name != "." && name != "..") all.push_back(name);
  ::closedir(list);
  std::sort(all.begin(), all.end());
  return all;
}

Tidy::Tidy() {
  std::array<char, 64> path{"/tmp/ipcm-test-XXXXXX"};
  REQUIRE(::mkdtemp(path.data()) != nullptr);
  directory_ = path.data();
  ::setenv("TMPDIR", directory_.c_str(), 1);
  ::setenv("XDG_RUNTIME_DIR", directory_.c_str(), 1);
  ::unsetenv("IPCM_INFO");
  ::unsetenv("IPCM_BOOT");
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);  // adopts the orphans of a test, so that it finds them
  descriptors_ = open_descriptors();
}

Tidy::~Tidy() {
  await_no_children();
  os::reap_released_children();  // the library keeps their pidfds until its next start
  const auto files = names_in(directory_);
  CHECK_MESSAGE(files.empty(), "files were left behind, the first is ", files.empty() ? "" : files.front());
  CHECK(open_descriptors() == descriptors_);
  std::filesystem::remove_all(directory_);
}

void Tidy::await_no_children() {
  const auto deadline = os::Deadline::after(kHang);
  for (;;) {
    const auto all = children();
    if (all.empty()) return;
    for (const Pid pid : all) {
      const auto process = os::open_process(pid);
      if (process && !os::await_end(process->get(), deadline)) {
        ADD_FAIL_CHECK_AT(__FILE__, __LINE__, "a process was left behind: " << pid << " " << command_of(pid));
        ::kill(pid, SIGKILL);
        (void)os::await_end(process->get(), os::Deadline::never());
      }
      (void)::waitpid(pid, nullptr, WNOHANG);
    }
  }
}

std::string child_program(const std::string& name) {
  return std::string(std::getenv("IPCM_TEST_CHILDREN")) + "/" + name;
}
std::string boot_program() { return std::getenv("IPCM_TEST_BOOT"); }
std::string ipcm_program() { return std::getenv("IPCM_TEST_IPCM"); }

void write_file(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

std::string write_script(const std::string& path, const std::string& text) {
  write_file(path, text);
  ::chmod(path.c_str(), 0755);
  return path;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace ipcm::test
