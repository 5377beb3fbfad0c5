// The peers of the conformance suite in C++ (README.md of the suite tells what they do): a boot binary with the
// class "conformance", and with --client a client that obeys its standard input.

#include <cereal/types/string.hpp>
#include <cereal/types/vector.hpp>

#include <ipcm/ipcm.h>
#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>

namespace {

using ipcm::Content;

/// A message as the suite wants to see it.
struct Seen {
  const ipcm::Message& message;
  void save(ipcm::JsonWriter& archive) const {
    archive(cereal::make_nvp("from", message.from), cereal::make_nvp("content", message.content),
            cereal::make_nvp("broadcast", message.broadcast));
  }
};

struct Order {
  std::string act, to, key, text, kind, peer;
  std::size_t count = 0;
  Content value, content;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(cereal::make_nvp("do", act), ipcm::optional("to", to), ipcm::optional("key", key),
            ipcm::optional("text", text), ipcm::optional("kind", kind), ipcm::optional("peer", peer),
            ipcm::optional("count", count), ipcm::optional("value", value),
            ipcm::optional("content", content));
  }
};

class Conformance final : public ipcm::Service {
 public:
  struct Args {
    std::string fail, gate, big;
    template <class Archive>
    void serialize(Archive& archive) {
      archive(ipcm::optional("fail", fail), ipcm::optional("gate", gate), ipcm::optional("big", big));
    }
  };
  Conformance(ipcm::ServiceSetup setup, Args args) : Service(std::move(setup)), args_(std::move(args)) {}

  void on_start() override {
    if (!args_.fail.empty()) throw std::runtime_error(args_.fail);
    if (!args_.gate.empty()) {
      std::ifstream gate(args_.gate);
      (void)gate.get();
    }
    callbacks().on_peer_delta.push([this](ipcm::Service&, const std::map<std::string, int>& delta) {
      for (const auto& [peer, change] : delta) {
        seen_[peer] = change > 0 ? "join" : "leave";
        answer_watchers();
      }
    });
  }

  ipcm::Answer handle_request(const ipcm::Request& request) override {
    const auto order = request.as<Order>();
    if (order.act == "echo") return order.value;
    if (order.act == "fail") throw std::runtime_error(order.text);
    if (order.act == "print") {
      std::cout << order.text << std::endl;
      std::cerr << order.text << std::endl;
      return true;
    }
    if (order.act == "pid") return ::getpid();
    if (order.act == "args") return args_.big.size();
    if (order.act == "die") std::raise(SIGKILL);
    if (order.act == "send") {
      client().send_message(order.to, order.content);
      return true;
    }
    if (order.act == "broadcast") {
      (void)client().broadcast(order.content);
      return true;
    }
    if (order.act == "ask") return ask(request, order);
    if (order.act == "release") {
      release(order);
      return true;
    }
    waiting_.emplace_back(order, request);
    if (order.act == "hold") {
      held_.emplace(order.key, request);
      waiting_.pop_back();
    } else {
      answer_watchers();
    }
    return ipcm::later;
  }

  void on_general_message(const ipcm::Message& message) override {
    messages_.push_back(message);
    answer_watchers();
  }

 private:
  ipcm::Answer ask(const ipcm::Request& request, const Order& order) {
    send_request(order.to, order.content, [this, request](const ipcm::Response& response) {
      if (response.ok())
        send_response(request, response.content());
      else
        send_error(request, response.error());
    });
    return ipcm::later;
  }

  void release(const Order& order) {
    for (auto [at, end] = held_.equal_range(order.key); at != end; ++at) {
      try {
        send_response(at->second, order.value);
      } catch (const ipcm::PeerGone&) {
        // The requester has given up.
      }
    }
    held_.erase(order.key);
  }

  void answer_watchers() {
    for (auto at = waiting_.begin(); at != waiting_.end();) {
      const auto& [order, request] = *at;
      const bool has_come = order.act == "messages"
                                ? messages_.size() >= order.count
                                : seen_.contains(order.peer) && seen_[order.peer] == order.kind;
      if (!has_come) {
        ++at;
        continue;
      }
      if (order.act == "messages") {
        std::vector<Seen> all;
        for (const ipcm::Message& message : messages_) all.push_back({message});
        send_response(request, all);
      } else {
        send_response(request, true);
      }
      at = waiting_.erase(at);
    }
  }

  Args args_;
  std::multimap<std::string, ipcm::Request> held_;
  std::vector<std::pair<Order, ipcm::Request>> waiting_;
  std::vector<ipcm::Message> messages_;
  std::map<std::string, std::string> seen_;
};

// ---- the client

struct Command {
  std::string op, name, to;
  double timeout = 0;
  std::size_t size = 0;
  Content tag, content;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(cereal::make_nvp("op", op), ipcm::optional("name", name), ipcm::optional("to", to),
            ipcm::optional("timeout", timeout), ipcm::optional("size", size), ipcm::optional("tag", tag),
            ipcm::optional("content", content));
  }
};

void print(const std::string& json) { std::cout << json << std::endl; }

void done(const Content& tag, const Content& value) {
  print(R"({"tag":)" + tag.json() + R"(,"ok":)" + value.json() + "}");
}

void failed(const Content& tag, const std::string& kind, const std::string& text) {
  print(R"({"tag":)" + tag.json() + R"(,"error":)" + Content(kind).json() + R"(,"text":)" +
        Content(text).json() + "}");
}

/// Reports the current exception.
void failed(const Content& tag) {
  try {
    throw;
  } catch (const ipcm::RemoteError& error) {
    failed(tag, "RemoteError", error.what());
  } catch (const ipcm::PeerGone& error) {
    failed(tag, "PeerGone", error.what());
  } catch (const ipcm::Timeout& error) {
    failed(tag, "Timeout", error.what());
  } catch (const ipcm::NameTaken& error) {
    failed(tag, "NameTaken", error.what());
  } catch (const ipcm::UsageError& error) {
    failed(tag, "UsageError", error.what());
  } catch (const std::exception& error) {
    failed(tag, "BusError", error.what());
  }
}

class Peer {
 public:
  explicit Peer(std::string info) : info_(std::move(info)) {}

  /// Returns false if the client is to leave.
  bool obey(const std::string& line) {
    const auto command = Content::json(line).as<Command>();
    try {
      if (command.op == "leave") {
        if (client_) client_->disconnect([](const ipcm::Message&) {});
        client_.reset();
        done(command.tag, true);
        return false;
      }
      run(command);
    } catch (...) {
      failed(command.tag);
    }
    return true;
  }

  [[nodiscard]] int fd() const { return client_ ? client_->fd() : -1; }

  void dispatch() {
    if (!client_) return;
    client_->dispatch();
    for (const ipcm::Message& message : client_->get_messages())
      print(R"({"message":)" + Content(Seen{message}).json() + "}");
  }

 private:
  void run(const Command& command) {
    if (command.op == "connect") {
      const std::string name = command.name.empty() ? "cpp-" + std::to_string(::getpid()) : command.name;
      client_.emplace(ipcm::ipcm_connect(name, info_));
      done(command.tag, name);
    } else if (command.op == "request") {
      request(command);
    } else if (command.op == "large") {
      large(command);
    } else if (command.op == "send") {
      client_->send_message(command.to, command.content);
      done(command.tag, true);
    } else if (command.op == "broadcast") {
      (void)client_->broadcast(command.content);
      done(command.tag, true);
    } else if (command.op == "peers") {
      done(command.tag, client_->peers());
    } else if (command.op == "watch") {
      client_->on_peer_delta([](const std::map<std::string, int>& delta) {
        for (const auto& [peer, change] : delta)
          print(std::string(R"({"event":")") + (change > 0 ? "join" : "leave") + R"(","peer":)" +
                Content(peer).json() + "}");
      });
      done(command.tag, true);
    } else {
      failed(command.tag, "unsupported", command.op);
    }
  }

  void large(const Command& command) {
    std::string text;
    while (text.size() < command.size) text += "0123456789abcdef";
    const auto content = Content::trusted_json(R"({"do":"echo","value":")" + text + "\"}");
    done(command.tag, client_->sync_request(command.to, content).content().json() == '"' + text + '"');
  }

  void request(const Command& command) {
    if (command.timeout > 0) {  // blocks: the suite sends nothing else meanwhile
      const auto limit =
          std::chrono::duration_cast<ipcm::Duration>(std::chrono::duration<double>(command.timeout));
      done(command.tag, client_->sync_request(command.to, command.content, limit).content());
      return;
    }
    client_->send_request(command.to, command.content, [tag = command.tag](const ipcm::Response& response) {
      try {
        done(tag, response.content());
      } catch (...) {
        failed(tag);
      }
    });
  }

  std::string info_;
  std::optional<ipcm::Client> client_;
};

int be_client(const std::string& info) {
  Peer peer(info);
  std::string unread;
  std::vector<char> piece(1UL << 20);
  for (;;) {
    pollfd both[] = {{0, POLLIN, 0}, {peer.fd(), POLLIN, 0}};
    if (::poll(both, peer.fd() < 0 ? 1 : 2, -1) < 0) continue;
    peer.dispatch();
    if (both[0].revents == 0) continue;
    const auto got = ::read(0, piece.data(), piece.size());
    if (got <= 0) return 0;
    unread.append(piece.data(), static_cast<std::size_t>(got));
    for (std::size_t end = 0; (end = unread.find('\n')) != std::string::npos;) {
      const std::string line = unread.substr(0, end);
      unread.erase(0, end + 1);
      if (!peer.obey(line)) return 0;
    }
    peer.dispatch();
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc == 3 && std::string_view(argv[1]) == "--client") return be_client(argv[2]);
  auto registry = ipcm::builtin_services();
  registry.add<Conformance>("conformance", "obeys the conformance suite");
  return ipcm::boot(argc, argv, registry);
} catch (const std::exception& error) {
  std::cerr << "cpp_peer: " << error.what() << '\n';
  return 1;
}
