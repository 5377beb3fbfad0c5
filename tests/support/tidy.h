#pragma once

// What every test stands on. A test that inherits from Tidy has a temporary directory of its own ($TMPDIR,
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

/// 20 s, times $IPCM_TEST_PATIENCE (a whole number, at least 1): a machine under emulation needs more.
[[nodiscard]] std::chrono::seconds hang_guard();
/// Ends a hang; never an assertion of speed.
inline const std::chrono::seconds kHang = hang_guard();

class Tidy {
 public:
  Tidy();
  ~Tidy();
  Tidy(const Tidy&) = delete;
  Tidy& operator=(const Tidy&) = delete;
  /// This test's own directory; empty at its start, and to be empty at its end.
  [[nodiscard]] const std::string& directory() const { return directory_; }
  /// Waits until no child of this process is left, orphaned grandchildren included.
  static void await_no_children();

 private:
  std::string directory_;
  std::vector<std::string> descriptors_;
};

/// Returns the open descriptors of this process: "3 -> /dev/null".
[[nodiscard]] std::vector<std::string> open_descriptors();
/// Names below a directory, without . and ..
[[nodiscard]] std::vector<std::string> names_in(const std::string& directory);
/// A child program of the tests, built beside them; see tests/children.
[[nodiscard]] std::string child_program(const std::string& name);
/// The boot binary and the command that were built.
[[nodiscard]] std::string boot_program();
[[nodiscard]] std::string ipcm_program();
/// Writes a script of mode 0755 and returns its path.
std::string write_script(const std::string& path, const std::string& text);
void write_file(const std::string& path, const std::string& text);
[[nodiscard]] std::string read_file(const std::string& path);

}  // namespace ipcm::test
