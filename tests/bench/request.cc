// Measures the time of a request and its answer by size, against a bare socket and other libraries.

#include <sys/syscall.h>
#include <unistd.h>

#include "bench/ours.h"
#include "bench/peers.h"
#include "bench/sockets.h"

using namespace ipcm;
using namespace ipcm::bench;

namespace {

constexpr const char* kFloor = "floor: blocking stream socket";

std::string text_of(std::size_t bytes) {
  if (bytes >= 1024 * 1024) return std::to_string(bytes / 1024 / 1024) + " MiB";
  return bytes >= 1024 ? std::to_string(bytes / 1024) + " KiB" : std::to_string(bytes) + " B";
}

/// The processes that answer, and the racers that ask them.
struct Field {
  Directory directory;
  std::vector<Process> servers;
  std::vector<std::shared_ptr<Handle>> services;
  std::vector<Racer> racers;
};

void add_floor(Field& field, Placement placement, std::size_t size) {
  const std::string path = field.directory.file("floor");
  field.servers.emplace_back(std::vector<std::string>{"floor", path, std::to_string(size)}, placement,
                             Side::answers);
  pin(placement, Side::asks);
  const auto socket = std::make_shared<os::UniqueFd>(connect_at(path));
  field.racers.push_back({kFloor, [socket, bytes = std::string(size, 'x')]() mutable {
                            write_whole(socket->get(), bytes.data(), bytes.size());
                            (void)read_whole(socket->get(), bytes.data(), bytes.size());
                          }});
}

void add_ours(Field& field, Placement placement, const std::string& serializer, const Content& content,
              std::optional<double> at_most) {
  const auto handle = start_echo(placement, serializer);
  field.services.push_back(handle);
  field.racers.push_back(
      {"ours, " + serializer + (content.is_bytes() ? " bytes" : ""),
       [handle, content] { (void)handle->sync_request(content, std::chrono::seconds(20)); }, at_most});
}

void add_ours(Field& field, Placement placement, std::size_t size, const std::string& serializer,
              std::optional<double> at_most) {
  add_ours(field, placement, serializer, Content(std::string(size, 'x')), at_most);
}

void add_others(Field& field, Placement placement, std::size_t size) {
  for (const PeerLibrary* library : peer_libraries()) {
    const std::string path = field.directory.file(library->name);
    field.servers.emplace_back(std::vector<std::string>{"peer", library->name, path}, placement,
                               Side::answers);
    pin(placement, Side::asks);  // threads of the library inherit it
    field.racers.push_back({library->name, library->ask(path, size)});
  }
}

void small() {
  constexpr std::size_t kSize = 64;
  for (const Placement placement : placements()) {
    Field field;
    add_floor(field, placement, kSize);
    const bool one = placement == Placement::one;
    add_ours(field, placement, kSize, "JSON",
             one                                ? 1.5
             : placement == Placement::anywhere ? std::optional<double>(1.1)
                                                : std::nullopt);
    add_ours(field, placement, kSize, "Cereal", one ? std::optional<double>(1.25) : std::nullopt);
    add_others(field, placement, kSize);
    race(field.racers, 20, 150);
    report_race(field.racers,
                {.question = "request and answer", .variant = std::string("64 B, ") + to_string(placement)});
  }
  Field field;
  add_floor(field, Placement::anywhere, kSize);
  auto options = echo_options("JSON");
  options.spin = std::chrono::microseconds(100);
  const auto handle = std::make_shared<Handle>(ipcm_service("echo", options));
  field.services.push_back(handle);
  field.racers.push_back({"ours, with `spin`",
                          [handle, content = Content(std::string(kSize, 'x'))] {
                            (void)handle->sync_request(content, std::chrono::seconds(20));
                          },
                          0.4});
  race(field.racers, 20, 150);
  report_race(field.racers, {.question = "request and answer", .variant = "64 B, free"});
}

void large() {
  constexpr std::size_t kMiB = 1024UL * 1024;
  struct Size {
    std::size_t bytes;
    int rounds, each;
    double at_most;
  };
  for (const Placement placement : {Placement::one, Placement::anywhere}) {
    for (const Size size : {Size{kMiB / 16, 10, 30, 1.2}, Size{kMiB, 8, 4, 2}}) {
      Field field;
      add_floor(field, placement, size.bytes);
      add_ours(field, placement, size.bytes, "JSON", size.at_most);
      add_ours(field, placement, size.bytes, "Cereal", size.at_most);
      add_ours(field, placement, "Cereal", Content::bytes(std::string(size.bytes, 'x')), size.at_most);
      add_others(field, placement, size.bytes);
      race(field.racers, size.rounds, size.each);
      report_race(field.racers, {.question = "large payloads",
                                 .variant = text_of(size.bytes) + ", " + to_string(placement)});
    }
  }
}

/// The curve: request time by size.
void sizes() {
  if (placements().size() < 2) return;
  for (std::size_t bytes = 64; bytes <= 4UL * 1024 * 1024; bytes *= 8) {
    Field field;
    add_floor(field, Placement::anywhere, bytes);
    for (const char* serializer : {"JSON", "JSON::Zstd", "Cereal"})
      add_ours(field, Placement::anywhere, bytes, serializer, {});
    race(field.racers, 5, bytes < 64UL * 1024 ? 40 : 4);
    report_race(field.racers, {.question = "request time by payload",
                               .variant = text_of(bytes) + ", free",
                               .curve_x = static_cast<double>(bytes),
                               .curve_label = "bytes each way"});
  }
}

}  // namespace

int main(int argc, char** argv) {
  return run(argc, argv,
             {{"1-small", [](const auto&) { small(); }},
              {"2-large", [](const auto&) { large(); }},
              {"3-sizes", [](const auto&) { sizes(); }}},
             {{"floor", [](const auto& words) { serve_echo(words.at(0), std::stoul(words.at(1))); }},
              {"peer", [](const auto& words) { peer_library(words.at(0)).serve(words.at(1)); }}});
}
