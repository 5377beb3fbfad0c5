#include "support/peers.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <future>
#include <stdexcept>
#include <thread>

#include "os/events.h"
#include "os/process.h"

namespace ipcm::test {
namespace {

bool readable_in_time(int fd) {
  pollfd wait{fd, POLLIN, 0};
  return ::poll(&wait, 1, os::Deadline::after(kHang).poll_timeout()) > 0;
}

struct Pair {
  os::UniqueFd left, right;
};

Pair make_pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
    throw std::runtime_error("socketpair");
  return {os::UniqueFd(ends[0]), os::UniqueFd(ends[1])};
}

char state_of(Pid pid) {
  const std::string stat = read_file("/proc/" + std::to_string(pid) + "/stat");
  const auto end_of_name = stat.rfind(") ");
  return end_of_name == std::string::npos ? '?' : stat[end_of_name + 2];
}

}  // namespace

void Lines::say(const std::string& line) {
  const std::string text = line + "\n";
  for (std::size_t sent = 0; sent < text.size();) {
    const auto now = ::send(socket_.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (now < 0) throw std::runtime_error("nobody hears '" + line + "'");
    sent += static_cast<std::size_t>(now);
  }
}

std::string Lines::hear() {
  for (;;) {
    if (const auto end = heard_.find('\n'); end != std::string::npos) {
      std::string line = heard_.substr(0, end);
      heard_.erase(0, end + 1);
      return line;
    }
    std::array<char, 4096> piece{};
    if (!readable_in_time(socket_.get())) throw std::runtime_error("the other process says nothing");
    const auto got = ::recv(socket_.get(), piece.data(), piece.size(), 0);
    if (got <= 0) throw std::runtime_error("the other process has hung up");
    heard_.append(piece.data(), static_cast<std::size_t>(got));
  }
}

Forked::Forked(const std::function<int(Lines& test)>& body) : lines_(os::UniqueFd()) {
  Pair pair = make_pair();
  const int childs = pair.right.release();  // a fork closes the descriptor of a UniqueFd
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (const int signal : {SIGINT, SIGTERM, SIGABRT, SIGSEGV, SIGFPE, SIGILL})
      ::signal(signal, SIG_DFL);  // the handlers of doctest would report as the test
    int status = 99;
    try {
      Lines lines{os::UniqueFd(childs)};
      status = body(lines);
    } catch (const std::exception& error) {
      (void)std::fprintf(stderr, "forked process %d: %s\n", ::getpid(), error.what());
    }
    ::_exit(status);
  }
  ::close(childs);
  if (pid_ < 0) throw std::runtime_error("fork");
  lines_ = Lines(std::move(pair.left));
}

Forked::~Forked() {
  if (reaped_) return;
  ::kill(pid_, SIGKILL);
  (void)::waitpid(pid_, nullptr, 0);
}

void Forked::kill(int signal) { ::kill(pid_, signal); }

void Forked::await_end() const { test::await_end(pid_); }

ExitStatus Forked::wait() {
  await_end();
  int status = 0;
  REQUIRE(::waitpid(pid_, &status, 0) == pid_);
  reaped_ = true;
  return ExitStatus::from_wait_status(status);
}

void await_end(Pid pid) {
  const auto process = os::open_process(pid);
  if (!process) return;
  REQUIRE_MESSAGE(os::await_end(process->get(), os::Deadline::after(kHang)), "process ", pid,
                  " does not end");
}

void await_file(const std::string& path) {
  const std::filesystem::path file(path);
  os::DirectoryWatch watch(file.parent_path());
  while (!std::filesystem::exists(file)) {
    REQUIRE_MESSAGE(readable_in_time(watch.fd()), path, " does not come");
    watch.read([](std::string_view) {});
  }
}

bool becomes_readable(int fd) {
  pollfd one{fd, POLLIN, 0};
  return ::poll(&one, 1, os::Deadline::after(kHang).poll_timeout()) == 1;
}

void await_idle(Pid pid) {
  const auto deadline = os::Deadline::after(kHang);
  for (int asleep = 0; asleep < 20;) {
    asleep = state_of(pid) == 'S' ? asleep + 1 : 0;
    if (deadline.has_passed()) FAIL("process " << pid << " never rests");
    ::sched_yield();
  }
}

std::vector<Pid> own_children() {
  std::vector<Pid> all;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream list(task.path() / "children");
    for (Pid pid = 0; list >> pid;) all.push_back(pid);
  }
  return all;
}

std::string command_line(Pid pid) {
  std::string text = read_file("/proc/" + std::to_string(pid) + "/cmdline");
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text;
}

std::vector<std::string> descriptors_of(Pid pid) {
  std::vector<std::string> all;
  const std::string place = "/proc/" + std::to_string(pid) + "/fd";
  for (const std::string& name : names_in(place)) {
    std::array<char, 4096> target{};
    const auto size = ::readlink((place + "/" + name).c_str(), target.data(), target.size());
    if (size > 0) all.emplace_back(target.data(), static_cast<std::size_t>(size));
  }
  return all;
}

std::size_t count_descriptors(Pid pid) {
  const auto all = descriptors_of(pid);
  return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [](const std::string& one) {
    return one.find("timerfd") == std::string::npos;
  }));
}

void with_thread(const std::function<void()>& work) {
  std::promise<void> over;
  std::thread second([&] { over.get_future().wait(); });
  work();
  over.set_value();
  second.join();
}

StderrInto::StderrInto(const std::string& path) : before_(::fcntl(2, F_DUPFD_CLOEXEC, 3)) {
  (void)std::fflush(stderr);
  const os::UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  REQUIRE(file.get() >= 0);
  REQUIRE(::dup2(file.get(), 2) == 2);
}

StderrInto::~StderrInto() {
  (void)std::fflush(stderr);
  ::dup2(before_.get(), 2);
}

std::vector<Message> collect(Client& client, std::size_t count) {
  std::vector<Message> all;
  const auto deadline = os::Deadline::after(kHang);
  while (all.size() < count && !deadline.has_passed())
    for (Message& message : client.wait_for_messages(kHang)) all.push_back(std::move(message));
  REQUIRE(all.size() >= count);
  return all;
}

std::vector<std::string> collect_contents(Client& client, std::size_t count) {
  std::vector<std::string> all;
  for (const Message& message : collect(client, count)) all.push_back(message.content.json());
  return all;
}

void dispatch_until(Handle& handle, const std::function<bool()>& done) {
  while (!done()) {
    REQUIRE(readable_in_time(handle.fd()));
    handle.dispatch();
  }
}

ServiceOptions exec_echo() {
  ServiceOptions options;
  options.class_name = "echo";
  options.exec = Exec{.path = boot_program()};
  return options;
}

}  // namespace ipcm::test
