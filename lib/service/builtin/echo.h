#pragma once

#include "ipcm/service.h"

namespace ipcm::builtin {

/// Answers each request with the request, unchanged to the byte, bytes as bytes; with a prefix, strings get
/// it in front.
class Echo final : public Service {
 public:
  struct Args {
    std::string prefix;
    template <class Archive>
    void serialize(Archive& archive) {
      archive(optional("prefix", prefix));
    }
  };
  Echo(ServiceSetup setup, Args args) : Service(std::move(setup)), prefix_(std::move(args.prefix)) {}

  Answer take_request(Request&& request) override {
    const bool is_string = !request.raw().is_bytes() && request.raw().json().starts_with('"');
    if (prefix_.empty() || !is_string) return std::move(request).take();
    return prefix_ + request.as<std::string>();
  }

 private:
  std::string prefix_;
};

}  // namespace ipcm::builtin
