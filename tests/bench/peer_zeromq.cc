#include <zmq.h>

#include <memory>
#include <stdexcept>

#include "bench/bench.h"
#include "bench/peers.h"

namespace ipcm::bench {
namespace {

void expect(bool good) {
  if (!good) throw std::runtime_error(std::string("ZeroMQ: ") + zmq_strerror(zmq_errno()));
}

/// A socket with its own context. The socket is closed first.
class Socket {
 public:
  explicit Socket(int kind) : context_(zmq_ctx_new()), socket_(zmq_socket(context_, kind)) {
    expect(socket_ != nullptr);
    const int none = 0, at_once = 0;
    zmq_setsockopt(socket_, ZMQ_LINGER, &at_once, sizeof at_once);
    zmq_setsockopt(socket_, ZMQ_SNDHWM, &none, sizeof none);
    zmq_setsockopt(socket_, ZMQ_RCVHWM, &none, sizeof none);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() {
    zmq_close(socket_);
    zmq_ctx_term(context_);
  }
  [[nodiscard]] void* get() const { return socket_; }

 private:
  void* context_;
  void* socket_;
};

void serve(const std::string& path) {
  const Socket socket(ZMQ_REP);
  expect(zmq_bind(socket.get(), ("ipc://" + path).c_str()) == 0);
  ready();
  for (;;) {
    zmq_msg_t message;
    zmq_msg_init(&message);
    expect(zmq_msg_recv(&message, socket.get(), 0) >= 0);
    expect(zmq_msg_send(&message, socket.get(), 0) >= 0);
  }
}

std::function<void()> ask(const std::string& path, std::size_t size) {
  const auto socket = std::make_shared<Socket>(ZMQ_REQ);
  expect(zmq_connect(socket->get(), ("ipc://" + path).c_str()) == 0);
  const auto bytes = std::make_shared<std::string>(size, 'x');
  return [socket, bytes] {
    expect(zmq_send(socket->get(), bytes->data(), bytes->size(), 0) >= 0);
    expect(zmq_recv(socket->get(), bytes->data(), bytes->size(), 0) == static_cast<int>(bytes->size()));
  };
}

}  // namespace

const PeerLibrary kZeromq = {"ZeroMQ", &serve, &ask};

void zeromq_push(const std::string& path, std::size_t count, std::size_t size) {
  const Socket socket(ZMQ_PUSH);
  const int for_ever = -1;
  zmq_setsockopt(socket.get(), ZMQ_LINGER, &for_ever, sizeof for_ever);
  expect(zmq_connect(socket.get(), ("ipc://" + path).c_str()) == 0);
  ready();
  await_start();
  const std::string bytes(size, 'x');
  for (std::size_t i = 0; i < count; ++i) expect(zmq_send(socket.get(), bytes.data(), size, 0) >= 0);
}

std::function<void()> zeromq_pull(const std::string& path) {
  const auto socket = std::make_shared<Socket>(ZMQ_PULL);
  expect(zmq_bind(socket->get(), ("ipc://" + path).c_str()) == 0);
  return [socket, bytes = std::string(4096, ' ')]() mutable {
    expect(zmq_recv(socket->get(), bytes.data(), bytes.size(), 0) >= 0);
  };
}

}  // namespace ipcm::bench
