// Measures how many answers a second one service gives to 64 processes.

#include "bench/ours.h"
#include "bench/peers.h"
#include "bench/sockets.h"
#include "bus/member.h"
#include "client/pending_requests.h"

using namespace ipcm;
using namespace ipcm::bench;

namespace {

constexpr std::size_t kSize = 64;
constexpr int kRounds = 3;
constexpr double kEnough = 0.75;

/// Returns the function that sends one request: `floor PATH`, `peer LIBRARY PATH`, `ours INFO`.
std::function<void()> asker(const std::vector<std::string>& how) {
  if (how.at(0) == "floor") {
    const auto socket = std::make_shared<os::UniqueFd>(connect_at(how.at(1)));
    return [socket, bytes = std::string(kSize, 'x')]() mutable {
      write_whole(socket->get(), bytes.data(), bytes.size());
      (void)read_whole(socket->get(), bytes.data(), bytes.size());
    };
  }
  if (how.at(0) == "peer") return peer_library(how.at(1)).ask(how.at(2), kSize);
  struct Ours {
    Client client;
    client::PendingRequests requests;
    explicit Ours(const std::string& info)
        : client(ipcm_connect("asker-" + std::to_string(::getpid()), info)),
          requests(client.shared_member(), client::PendingRequests::IncomingRequests::whole) {}
  };
  const auto ours = std::make_shared<Ours>(how.at(1));
  return [ours, content = Content(std::string(kSize, 'x'))] {
    (void)ours->requests.ask("echo", content, os::Deadline::after(std::chrono::seconds(20)));
  };
}

void ask(const std::vector<std::string>& words) {
  const auto once = asker({words.begin() + 1, words.end()});
  constexpr int kBefore = 20;  // afterwards, the connection exists and the memory pages are mapped
  for (int i = 0; i < kBefore; ++i) once();
  bench::ready();
  await_start();
  for (int i = std::stoi(words.at(0)); i > 0; --i) once();
  done();
}

/// How the clients are made: by exec, or by fork, which shares the memory pages and the code addresses.
enum class Made { executed, forked };

/// Returns the number of answers a second.
double rate(int clients, int each, const std::vector<std::string>& how, Made made) {
  std::vector<std::string> words = {"ask", std::to_string(each)};
  words.insert(words.end(), how.begin(), how.end());
  std::vector<Process> askers;
  for (int i = 0; i < clients; ++i) {
    if (made == Made::executed)
      askers.emplace_back(words, Placement::anywhere, Side::asks);
    else
      askers.push_back(Process::forked([&words] { ask({words.begin() + 1, words.end()}); }));
  }
  const double begin = now_us();
  for (Process& one : askers) one.start();
  for (Process& one : askers) one.await_done();
  const double taken = now_us() - begin;
  for (Process& one : askers) one.wait();
  return clients * each / taken * 1e6;
}

void fan_in(int clients, bool is_curve, Made made) {
  const Directory directory;
  struct Runner {
    std::string who;
    std::vector<std::string> how;
    int each;
    std::optional<double> at_least = {};
    Samples samples = {};
  };
  std::vector<Runner> runners;
  std::vector<Process> servers;
  std::vector<std::shared_ptr<Handle>> services;
  const int each = (is_curve ? 16000 : 64000) / clients;

  servers.emplace_back(std::vector<std::string>{"floor", directory.file("floor")}, Placement::anywhere,
                       Side::answers);
  runners.push_back({"floor: epoll echo server", {"floor", directory.file("floor")}, each});
  for (const char* serializer : {"JSON", "Cereal"}) {
    services.push_back(start_echo(Placement::anywhere, serializer));
    runners.push_back(
        {std::string("ours, ") + serializer, {"ours", services.back()->info().text()}, each / 2, kEnough});
  }
  if (!is_curve && made == Made::executed) {
    for (const PeerLibrary* library : peer_libraries()) {
      if (!library->serves_many) continue;
      servers.emplace_back(std::vector<std::string>{"peer", library->name, directory.file(library->name)},
                           Placement::anywhere, Side::answers);
      runners.push_back({library->name, {"peer", library->name, directory.file(library->name)}, each / 4});
    }
  }
  for (int round = 0; round < (is_curve ? 1 : kRounds); ++round)
    for (Runner& runner : runners) runner.samples.add(rate(clients, runner.each, runner.how, made));
  for (const Runner& runner : runners) {
    Figure figure{.question = is_curve ? "answers by number of askers" : "fan-in",
                  .variant = std::to_string(clients) +
                             (made == Made::forked ? " forked processes ask one" : " processes ask one"),
                  .who = runner.who,
                  .unit = "/s",
                  .samples = runner.samples};
    if (&runner != &runners.front()) {
      figure.against = runners.front().who;
      figure.floor = runners.front().samples.median();
      if (!is_curve) figure.at_least = runner.at_least;
    }
    if (is_curve) {
      figure.curve_x = clients;
      figure.curve_label = "processes that ask";
    }
    report(figure);
  }
}

}  // namespace

int main(int argc, char** argv) {
  return run(argc, argv,
             {{"1-fan-in", [](const auto&) { fan_in(64, false, Made::executed); }},
              {"2-forked", [](const auto&) { fan_in(64, false, Made::forked); }},
              {"3-curve",
               [](const auto&) {
                 for (const int clients : {1, 4, 16, 64}) fan_in(clients, true, Made::executed);
               }}},
             {{"ask", [](const auto& words) { ask(words); }},
              {"floor", [](const auto& words) { serve_epoll_echo(words.at(0)); }},
              {"peer", [](const auto& words) { peer_library(words.at(0)).serve(words.at(1)); }}});
}
