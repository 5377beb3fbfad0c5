#pragma once

// The base of every test. A test that inherits from Tidy has its own temporary directory ($TMPDIR,
// $XDG_RUNTIME_DIR), and fails if it leaves a process, a file there, or a descriptor behind:
//
//   TEST_CASE_FIXTURE(Tidy, "launch: a child that …") { … }

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

#include "os/clock.h"

namespace ipcm::test {

using namespace std::chrono_literals;

/// Returns 20 s times $IPCM_TEST_PATIENCE (a whole number, at least 1): an emulated machine needs more time.
[[nodiscard]] std::chrono::seconds hang_guard();
/// The time limit that ends a hang. It does not test the speed.
inline const std::chrono::seconds kHang = hang_guard();

class Tidy {
 public:
  Tidy();
  ~Tidy();
  Tidy(const Tidy&) = delete;
  Tidy& operator=(const Tidy&) = delete;
  /// Returns the directory of this test. It is empty at the start, and must be empty at the end.
  [[nodiscard]] const std::string& directory() const { return directory_; }
  /// Waits until this process has no children, including orphaned grandchildren.
  static void await_no_children();

 private:
  std::string directory_;
  std::vector<std::string> descriptors_;
};

/// Returns the open descriptors of this process: "3 -> /dev/null".
[[nodiscard]] std::vector<std::string> open_descriptors();
/// Returns where they lead, without timers and watches of files: a client opens its own when it first needs them, in a long
/// wait.
[[nodiscard]] std::vector<std::string> lasting_descriptors();
/// Returns the names in a directory, without . and ..
[[nodiscard]] std::vector<std::string> names_in(const std::string& directory);
/// Returns the path of a child program of the tests; see tests/children.
[[nodiscard]] std::string child_program(const std::string& name);
/// Return the paths of the boot binary and of the command of this build.
[[nodiscard]] std::string boot_program();
[[nodiscard]] std::string ipcm_program();
/// Writes a script of mode 0755 and returns its path.
std::string write_script(const std::string& path, const std::string& text);
void write_file(const std::string& path, const std::string& text);
[[nodiscard]] std::string read_file(const std::string& path);

}  // namespace ipcm::test
