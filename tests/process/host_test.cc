// G7: hosts that have closed their standard streams, ignore signals, or have limits.

#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "client/pending_requests.h"
#include "os/descriptor.h"
#include "os/process.h"
#include "support/peers.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

/// Returns whether a descriptor of a service is a proper stream, and no socket, event descriptor or file of
/// this library.
bool is_a_stream(Pid pid, int fd) {
  const std::string leads = os::where_leads(pid, fd);
  return !leads.empty() && !leads.starts_with("socket:") && !leads.starts_with("anon_inode:") &&
         !contains(leads, "ipcm-");
}

/// Returns whether SQLite has opened /dev/null at a closed descriptor from 0 to 2. It does so because it
/// never uses these numbers for its files, and does not close them.
bool was_filled_by_a_driver(const BusInfo& bus, int fd) {
  return bus.protocol == "SQLite" && os::where_leads(os::own_pid(), fd) == "/dev/null";
}

/// Returns the answer of `peer` to a client that did not start it.
template <class T>
T ask(Client& client, const std::string& peer, const T& payload) {
  client::PendingRequests requests(client.shared_member(), client::PendingRequests::IncomingRequests::whole);
  return requests.ask(peer, Content(payload), os::Deadline::after(kHang)).template as<T>();
}

/// Starts a service and asks it, in a host that has closed the streams in `closed` (a bit for each).
std::string ask_without_streams(int closed, const ServiceOptions& options) {
  for (int stream = 0; stream <= 2; ++stream)
    if ((closed >> stream & 1) != 0) ::close(stream);
  std::string words;
  {
    Handle handle = ipcm_service("e", options);
    if (handle.sync_request<int>(5, kHang) != 5) words += "wrong answer ";
    for (int stream = 0; stream <= 2; ++stream) {
      const bool is_closed = (closed >> stream & 1) != 0;
      const std::string number = std::to_string(stream) + " ";
      if (!is_a_stream(*handle.service_pid(), stream)) words += "no stream of the service: " + number;
      if (is_closed && os::is_open(stream) && !was_filled_by_a_driver(handle.info(), stream))
        words += "open in the host: " + number;
    }
    // Another process can see the lock of the owner.
    Forked other([info = handle.info()](Lines& test) {
      Client client = ipcm_connect("other", info);
      test.say(std::to_string(ask(client, "e", 6)));
      return 0;
    });
    if (other.hear() != "6") words += "another process is not answered ";
  }
  return words.empty() ? "good" : words;
}

}  // namespace

TEST_CASE_FIXTURE(Tidy,
                  "G7: a host without standard streams keeps them closed, and its services have three") {
  const Registry builtin = builtin_services();
  for (const bool exec : {true, false})
    for (const int closed : {1, 2, 4, 7}) {
      CAPTURE(exec);
      CAPTURE(closed);
      ServiceOptions options = exec ? exec_echo() : echoing();
      Forked host([&](Lines& test) {
        test.say(ask_without_streams(closed, options));
        return 0;
      });
      CHECK(host.hear() == "good");
      CHECK(host.wait() == ExitStatus::exited(0));
    }
}

TEST_CASE_FIXTURE(Tidy, "G7: a limit of file sizes kills no host: a message that can't be sent is an error") {
  // The limit of the host does not apply to the service.
  Handle handle = ipcm_service("e", exec_echo());
  for (const rlim_t most : {0U, 20'000U, 200'000U}) {
    CAPTURE(most);
    Forked host([&](Lines& test) {
      ::signal(SIGXFSZ, SIG_DFL);
      const rlimit limit{most, most};
      ::setrlimit(RLIMIT_FSIZE, &limit);
      const std::string large(100'000, 'x');
      try {
        Client client = ipcm_connect("host", handle.info());
        const bool same = ask(client, "e", large) == large;
        test.say(same ? "answered" : "wrong answer");
      } catch (const Error& error) {
        test.say(std::string(error.what()).size() > 10 ? "told" : "no words");
      }
      return 0;
    });
    const std::string how = host.hear();
    CHECK((how == "answered" || how == "told"));
    CHECK(host.wait() == ExitStatus::exited(0));
  }
  CHECK(handle.sync_request<int>(7, kHang) == 7);
}

TEST_CASE_FIXTURE(Tidy, "G7: a host that ignores SIGCHLD starts services, and failed starts end") {
  Forked host([&](Lines& test) {
    ::signal(SIGCHLD, SIG_IGN);
    {
      Handle handle = ipcm_service("e", exec_echo());
      test.say(std::to_string(handle.sync_request<int>(5, kHang)));
    }
    ServiceOptions odd = exec_echo();
    odd.exec = Exec{.path = child_program("odd_boot"), .args = {"exit"}};
    try {
      (void)ipcm_service("e", odd);
      test.say("it started");
    } catch (const LaunchError& error) {
      // The kernel decides which of the two it is.
      const std::string words = error.what();
      test.say(contains(words, "exited with status 3") || contains(words, "can't be known on this kernel")
                   ? "told"
                   : words);
    }
    return 0;
  });
  CHECK(host.hear() == "5");
  CHECK(host.hear() == "told");
  CHECK(host.wait() == ExitStatus::exited(0));
}
