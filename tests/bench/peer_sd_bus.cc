#include <systemd/sd-bus.h>

#include <cerrno>
#include <memory>
#include <stdexcept>

#include "bench/bench.h"
#include "bench/peers.h"
#include "bench/sockets.h"

namespace ipcm::bench {
namespace {

int expect(int result) {
  if (result < 0) throw std::runtime_error("sd-bus: error " + std::to_string(-result));
  return result;
}

using Bus = std::unique_ptr<sd_bus, decltype(&sd_bus_close_unref)>;
Bus make_bus() {
  sd_bus* made = nullptr;
  expect(sd_bus_new(&made));
  return {made, &sd_bus_close_unref};
}

int echo(sd_bus_message* message, void*, sd_bus_error*) {
  const char* text = nullptr;
  expect(sd_bus_message_read(message, "s", &text));
  return sd_bus_reply_method_return(message, "s", text);
}

/// Serves one caller directly, without a daemon between the two.
void serve(const std::string& path) {
  const auto listener = listen_at(path);
  ready();
  auto caller = accept_at(listener.get());
  const Bus bus = make_bus();
  const int fd = caller.release();
  expect(sd_bus_set_fd(bus.get(), fd, fd));
  sd_id128_t id;
  expect(sd_id128_randomize(&id));
  expect(sd_bus_set_server(bus.get(), 1, id));
  expect(sd_bus_set_anonymous(bus.get(), 1));
  expect(sd_bus_add_object(bus.get(), nullptr, "/echo", &echo, nullptr));
  expect(sd_bus_start(bus.get()));
  for (;;) {
    int result = 0;
    while ((result = sd_bus_process(bus.get(), nullptr)) > 0) {
    }
    if (result == -ECONNRESET) return;  // the caller left
    expect(result);
    expect(sd_bus_wait(bus.get(), UINT64_MAX));
  }
}

std::function<void()> ask(const std::string& path, std::size_t size) {
  const auto bus = std::make_shared<Bus>(make_bus());
  expect(sd_bus_set_address(bus->get(), ("unix:path=" + path).c_str()));
  expect(sd_bus_set_anonymous(bus->get(), 1));
  expect(sd_bus_start(bus->get()));
  return [bus, text = std::string(size, 'x')] {
    sd_bus_message* reply = nullptr;
    expect(sd_bus_call_method(bus->get(), nullptr, "/echo", "ipcm.Bench", "Echo", nullptr, &reply, "s",
                              text.c_str()));
    const char* answer = nullptr;
    expect(sd_bus_message_read(reply, "s", &answer));
    sd_bus_message_unref(reply);
  };
}

}  // namespace

const PeerLibrary kSdBus = {"sd-bus", &serve, &ask, false};

}  // namespace ipcm::bench
