// Measures the class `command`: a program that becomes a service, against the same program on bare pipes.

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/ours.h"
#include "os/pipe.h"
#include "os/sys.h"

using namespace ipcm;
using namespace ipcm::bench;

namespace {

using Words = std::vector<std::string>;

constexpr auto kHang = std::chrono::seconds(20);

/// A program with its stdin and stdout on pipes. The destructor closes them and waits for the end of the program.
class Piped {
 public:
  explicit Piped(const Words& words) {
    std::array<int, 2> in{}, out{};
    os::sys("make", "a pipe", [&] { return ::pipe2(in.data(), O_CLOEXEC); });
    os::sys("make", "a pipe", [&] { return ::pipe2(out.data(), O_CLOEXEC); });
    const os::UniqueFd its_in(in[0]), its_out(out[1]);
    in_ = os::UniqueFd(in[1]);
    out_ = os::UniqueFd(out[0]);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, its_in.get(), STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, its_out.get(), STDOUT_FILENO);
    std::vector<char*> argv;
    Words copies = words;
    for (std::string& word : copies) argv.push_back(word.data());
    argv.push_back(nullptr);
    const int failed = ::posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) throw std::runtime_error("can't start " + words.front());
  }
  Piped(const Piped&) = delete;
  ~Piped() {
    in_.reset();
    (void)::waitpid(pid_, nullptr, 0);
  }

  void write(std::string_view text) { os::write_all(in_.get(), text, "the program"); }
  void close_input() { in_.reset(); }
  [[nodiscard]] std::string read_line() {
    std::string line;
    while (!line.ends_with('\n')) read_some(line);
    return line;
  }
  [[nodiscard]] std::string read_to_end() {
    std::string all;
    while (read_some(all)) continue;
    return all;
  }

 private:
  bool read_some(std::string& into) {
    std::array<char, 4096> bytes{};
    const ssize_t got = os::quiet([&] { return ::read(out_.get(), bytes.data(), bytes.size()); });
    if (got < 0) throw std::runtime_error("can't read from the program");
    into.append(bytes.data(), static_cast<std::size_t>(got));
    return got > 0;
  }

  pid_t pid_ = -1;
  os::UniqueFd in_, out_;
};

std::string json_list(const Words& words) {
  std::string list;
  for (const std::string& word : words) list += (list.empty() ? "\"" : ",\"") + word + "\"";
  return "[" + list + "]";
}

std::shared_ptr<Handle> start_program(const Words& words, const std::string& speak, unsigned jobs = 1) {
  ServiceOptions options;
  options.class_name = "command";
  options.exec = Exec{.path = boot_program()};
  options.args = Content::json(R"({"argv":)" + json_list(words) + R"(,"speak":")" + speak + R"(","jobs":)" +
                               std::to_string(jobs) + "}");
  return std::make_shared<Handle>(ipcm_service("program", options));
}

bool exists(const std::string& program) {
  return ::system(("command -v " + program + " >/dev/null").c_str()) == 0;
}

struct Program {
  std::string name;
  Words words;
};

/// One process for each request.
void per_request() {
  for (const Program& program : {Program{"cat", {"cat"}}, Program{"jq", {"jq", "-c", "."}}}) {
    if (!exists(program.name)) {
      skipped("a program for each request", program.name, "it is not installed");
      continue;
    }
    std::vector<Racer> racers;
    racers.push_back({"floor: posix_spawn(), pipes, waitpid()", [&] {
                        Piped one(program.words);
                        one.write("\"hello\"\n");
                        one.close_input();
                        if (one.read_to_end() != "\"hello\"\n") throw std::runtime_error("a wrong answer");
                      }});
    const auto handle = start_program(program.words, "per-request");
    racers.push_back(
        {"ours, `per-request`", [handle] { (void)handle->sync_request(Content("hello"), kHang); }});
    race(racers, 10, 30);
    report_race(racers, {.question = "a program for each request", .variant = program.name});
  }
}

/// A program that answers line by line.
void lines() {
  constexpr const char* kWorker =
      "import sys, json\n"
      "for line in sys.stdin: print(json.dumps(json.loads(line)), flush=True)";
  for (const Program& program : {Program{"cat", {"cat"}}, Program{"jq", {"jq", "-c", "--unbuffered", "."}},
                                 Program{"python3", {"python3", "-c", kWorker}}}) {
    if (!exists(program.name)) {
      skipped("a program that answers lines", program.name, "it is not installed");
      continue;
    }
    std::vector<Racer> racers;
    const auto piped = std::make_shared<Piped>(program.words);
    racers.push_back({"floor: the program on two pipes", [piped] {
                        piped->write("\"hello\"\n");
                        if (piped->read_line() != "\"hello\"\n") throw std::runtime_error("a wrong answer");
                      }});
    Words escaped = program.words;
    for (std::string& word : escaped)
      for (std::size_t at = 0; (at = word.find('\n', at)) != std::string::npos; at += 2)
        word.replace(at, 1, "\\n");
    const auto handle = start_program(escaped, "lines");
    racers.push_back(
        {"ours, `lines`", [handle] { (void)handle->sync_request(Content("hello"), kHang); }, 1.5});
    race(racers, 20, 100);
    report_race(racers, {.question = "a program that answers lines", .variant = program.name});
  }
}

/// Many requests at once to 1, 2 and 4 processes that each wait 2 ms for a request.
void jobs() {
  constexpr int kRequests = 64;
  const Words slow = {"sh", "-c", "while read -r line; do sleep 0.002; echo 1; done"};
  std::vector<Racer> racers;
  for (const unsigned count : {1U, 2U, 4U}) {
    const auto handle = start_program(slow, "lines", count);
    racers.push_back({std::to_string(count) + (count == 1 ? " job" : " jobs"), [handle] {
                        for (int i = 0; i < kRequests; ++i)
                          (void)handle->send_request(Content("x"), [](const Response&) {});
                        handle->await_all_responses(kHang);
                      }});
  }
  race(racers, 5, 1);
  report_race(racers, {.question = "64 requests at once, each takes 2 ms", .variant = "`lines`"});
}

}  // namespace

int main(int argc, char** argv) {
  return run(argc, argv,
             {{"1-per-request", [](const auto&) { per_request(); }},
              {"2-lines", [](const auto&) { lines(); }},
              {"3-jobs", [](const auto&) { jobs(); }}},
             {});
}
