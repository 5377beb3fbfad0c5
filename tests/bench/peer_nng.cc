#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>

#include <memory>
#include <stdexcept>

#include "bench/bench.h"
#include "bench/peers.h"

namespace ipcm::bench {
namespace {

void expect(int error) {
  if (error != 0) throw std::runtime_error(std::string("nng: ") + nng_strerror(error));
}

class Socket {
 public:
  explicit Socket(int (*open)(nng_socket*)) {
    expect(open(&socket_));
    expect(nng_socket_set_size(socket_, NNG_OPT_RECVMAXSZ, 0));
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { nng_close(socket_); }
  [[nodiscard]] nng_socket get() const { return socket_; }

 private:
  nng_socket socket_{};
};

void serve(const std::string& path) {
  const Socket socket(&nng_rep0_open);
  expect(nng_listen(socket.get(), ("ipc://" + path).c_str(), nullptr, 0));
  ready();
  for (;;) {
    nng_msg* message = nullptr;
    expect(nng_recvmsg(socket.get(), &message, 0));
    expect(nng_sendmsg(socket.get(), message, 0));
  }
}

std::function<void()> ask(const std::string& path, std::size_t size) {
  const auto socket = std::make_shared<Socket>(&nng_req0_open);
  expect(nng_dial(socket->get(), ("ipc://" + path).c_str(), nullptr, 0));
  const auto bytes = std::make_shared<std::string>(size, 'x');
  return [socket, bytes] {
    std::size_t got = bytes->size();
    expect(nng_send(socket->get(), bytes->data(), bytes->size(), 0));
    expect(nng_recv(socket->get(), bytes->data(), &got, 0));
  };
}

}  // namespace

const PeerLibrary kNng = {"nng", &serve, &ask};

}  // namespace ipcm::bench
