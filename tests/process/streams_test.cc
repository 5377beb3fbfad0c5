// The standard streams of a service: B10.

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "support/peers.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

/// Returns a service that writes each request to its stdout and to the original one. For "nested …", it
/// starts another service of this kind.
ServiceOptions speaker(int depth = 0) {
  ServiceOptions options;
  options.handle_request = [depth](Service& self, const Request& request) -> Answer {
    const auto words = request.as<std::string>();
    if (words.starts_with("nested") && depth == 0) {
      ServiceOptions inner = speaker(1);
      if (words == "nested orig") inner.redirect.out = "&orig";
      Peer peer = self.ipcm_service("inner-" + words, inner);
      return peer.sync_request<std::string>("from inside", kHang);
    }
    const std::string out = "out " + words + "\n", original = "orig " + words + "\n";
    (void)!::write(1, out.data(), out.size());
    (void)!::write(self.orig_io().out, original.data(), original.size());
    return "said";
  };
  return options;
}

/// A guard that redirects stdout of this process to a file.
class StdoutInto {
 public:
  explicit StdoutInto(const std::string& path) : before_(::fcntl(1, F_DUPFD_CLOEXEC, 3)) {
    const os::UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    REQUIRE(::dup2(file.get(), 1) == 1);
  }
  StdoutInto(const StdoutInto&) = delete;
  StdoutInto& operator=(const StdoutInto&) = delete;
  ~StdoutInto() { ::dup2(before_.get(), 1); }

 private:
  os::UniqueFd before_;
};

}  // namespace

TEST_CASE_FIXTURE(Tidy,
                  "B10: streams go to files, are inherited by nested services, and the original ones stay") {
  const std::string ours = directory() + "/ours", theirs = directory() + "/theirs";
  {
    const StdoutInto into(ours);
    ServiceOptions options = speaker();
    options.redirect.out = theirs;
    Handle handle = ipcm_service("e", options);
    CHECK(handle.sync_request("outside", kHang).ok());
    CHECK(handle.sync_request("nested", kHang).ok());
    CHECK(handle.sync_request("nested orig", kHang).ok());
  }
  CHECK(read_file(theirs) == "out outside\nout from inside\n");
  CHECK(read_file(ours) == "orig outside\norig from inside\nout from inside\norig from inside\n");
  for (const auto& file : {ours, theirs}) std::filesystem::remove(file);
}

TEST_CASE_FIXTURE(Tidy, "B10: a redirect that is not inherited: nested services have the original streams") {
  const std::string ours = directory() + "/ours", theirs = directory() + "/theirs";
  {
    const StdoutInto into(ours);
    ServiceOptions options = speaker();
    options.redirect.out = theirs;
    options.redirect.inherited = false;
    Handle handle = ipcm_service("e", options);
    CHECK(handle.sync_request("outside", kHang).ok());
    CHECK(handle.sync_request("nested", kHang).ok());
  }
  CHECK(read_file(theirs) == "out outside\n");
  CHECK(read_file(ours) == "orig outside\nout from inside\norig from inside\n");
  for (const auto& file : {ours, theirs}) std::filesystem::remove(file);
}

TEST_CASE_FIXTURE(Tidy, "B10: streams go to descriptors; one that is not open is refused") {
  const std::string file = directory() + "/file";
  {
    const os::UniqueFd open(::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    ServiceOptions options = speaker();
    options.redirect.out = "&" + std::to_string(open.get());
    Handle handle = ipcm_service("e", options);
    CHECK(handle.sync_request("there", kHang).ok());
    options.redirect.out = "&987";
    const auto error = thrown_by<LaunchError>([&] { (void)ipcm_service("f", options); });
    CHECK(error.phase() == LaunchError::Phase::prepare);
    CHECK(contains(error.what(), "987"));
  }
  CHECK(contains(read_file(file), "out there\n"));
  std::filesystem::remove(file);
}

TEST_CASE_FIXTURE(Tidy, "B10: without a redirect the original streams are the streams themselves") {
  Handle handle =
      ipcm_service("e", ServiceOptions{.handle_request = [](Service& self, const Request&) -> Answer {
                     const OriginalIo io = self.orig_io();
                     return std::vector<int>{io.in, io.out, io.err};
                   }});
  CHECK(handle.sync_request<std::vector<int>>(1, kHang) == std::vector<int>{0, 1, 2});
}

TEST_CASE_FIXTURE(Tidy,
                  "B10: exec: the original streams cross it, close-on-exec, and their variable is gone") {
  const std::string ours = directory() + "/ours", theirs = directory() + "/theirs";
  {
    const StdoutInto into(ours);
    ServiceOptions options;
    options.class_name = "speaker";
    options.exec = Exec{.path = child_program("self_boot")};
    options.redirect.out = theirs;
    Handle handle = ipcm_service("e", options);
    CHECK(handle.sync_request<std::string>("hello", kHang) == "said");
    CHECK(handle.sync_request<std::string>("environment", kHang) == "clean");
  }
  CHECK(read_file(theirs) == "out hello\n");
  CHECK(read_file(ours) == "orig hello\n");
  for (const auto& file : {ours, theirs}) std::filesystem::remove(file);
}
