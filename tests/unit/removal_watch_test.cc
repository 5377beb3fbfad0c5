// G6: how a process learns that another process has removed one of its files.

#include "os/removal_watch.h"

#include <poll.h>
#include <sys/stat.h>

#include <filesystem>
#include <optional>
#include <string>

#include "os/clock.h"
#include "support/tidy.h"
#include "unit/expect.h"

using namespace ipcm;
using namespace ipcm::os;
using ipcm::test::kHang;
using ipcm::test::Tidy;

namespace {

/// A watched directory with a file.
class Watched {
 public:
  enum class Begins { at_once, later };
  Watched(const std::string& below, Begins begins) : path(below + "/bus") {
    REQUIRE(::mkdir(path.c_str(), 0700) == 0);
    directory.emplace(path);
    directory->write_file("file", "ours");
    watch.emplace(*directory, std::vector<std::string>{"file"});
    if (begins == Begins::at_once) watch->begin(*directory);
  }
  ~Watched() {
    std::filesystem::remove_all(path);
    std::filesystem::remove_all(path + ".aside");
  }
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

  [[nodiscard]] bool is_told() const {
    pollfd one{watch->fd(), POLLIN, 0};
    return ::poll(&one, 1, Deadline::after(kHang).poll_timeout()) == 1;
  }
  [[nodiscard]] std::string removed() { return watch->removed(*directory); }
  void rename(const std::string& from, const std::string& to) const { std::filesystem::rename(from, to); }

  const std::string path;
  std::optional<Directory> directory;
  std::optional<RemovalWatch> watch;
};

}  // namespace

TEST_CASE_FIXTURE(Tidy, "G6: the kernel reports a file that is removed, renamed or replaced") {
  for (const std::string how : {"removed", "renamed", "replaced"}) {
    CAPTURE(how);
    Watched here(directory(), Watched::Begins::at_once);
    CHECK(here.removed().empty());
    const std::string file = here.path + "/file";
    if (how == "removed") std::filesystem::remove(file);
    if (how == "renamed") here.rename(file, here.path + "/other");
    if (how == "replaced") {
      here.directory->write_file("new", "somebody else's");
      here.rename(here.path + "/new", file);
    }
    REQUIRE(here.is_told());
    CHECK(here.removed() == "file");
  }
}

TEST_CASE_FIXTURE(Tidy, "G6: the kernel reports a directory that is moved") {
  Watched here(directory(), Watched::Begins::at_once);
  here.rename(here.path, here.path + ".aside");
  REQUIRE(here.is_told());
  CHECK(here.removed() == ".");
}

TEST_CASE_FIXTURE(Tidy, "G6: a loss from before the watch began is found when it begins") {
  {
    Watched here(directory(), Watched::Begins::later);
    std::filesystem::remove(here.path + "/file");
    here.watch->begin(*here.directory);
    CHECK(here.removed() == "file");
  }
  {
    Watched here(directory(), Watched::Begins::later);
    here.rename(here.path, here.path + ".aside");
    here.watch->begin(*here.directory);
    CHECK(here.removed() == ".");
  }
  Watched here(directory(), Watched::Begins::later);
  here.watch->begin(*here.directory);
  CHECK(here.removed().empty());
}

TEST_CASE_FIXTURE(Tidy, "G6: a write, new permissions and files of others are no loss") {
  Watched here(directory(), Watched::Begins::at_once);
  here.directory->append_to_file("file", "more");
  here.directory->write_file("other", "");
  REQUIRE(::chmod((here.path + "/file").c_str(), 0640) == 0);
  REQUIRE(here.is_told());  // the kernel sends the same event for permissions and links
  CHECK(here.removed().empty());
}
