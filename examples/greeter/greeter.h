#pragma once

#include <ipcm/ipcm.h>

/// What one asks a greeter: typed, so that a request without `to` never reaches the handler.
struct Greeting {
  std::string to;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(to));
  }
};

/// Greets whoever is named.
class Greeter final : public ipcm::Service {
 public:
  struct Args {
    std::string word = "Hello";
    template <class Archive>
    void serialize(Archive& archive) {
      archive(ipcm::optional("word", word));
    }
  };
  Greeter(ipcm::ServiceSetup setup, Args args) : Service(std::move(setup)), word_(std::move(args.word)) {}

  ipcm::Answer handle_request(const ipcm::Request& request) override {
    return word_ + ", " + request.as<Greeting>().to;
  }

 private:
  std::string word_;
};
