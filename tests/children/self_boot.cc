// A program that is its own boot binary, and also has another purpose. Without the arguments of the boot
// contract it says so and ends with status 3. As a service it reports on stderr that its main() goes on after
// the service.
//   $SELF_BOOT=returns: run_returns_to_caller

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "ipcm/ipcm.h"

namespace {

class Speaker final : public ipcm::Service {
 public:
  using Service::Service;
  ipcm::Answer handle_request(const ipcm::Request& request) override {
    const auto words = request.as<std::string>();
    if (words == "environment") return std::getenv("IPCM_ORIG_IO_FDS") == nullptr ? "clean" : "left behind";
    if (words == "tick") {
      asked_for_tick_.push_back(request);
      return ipcm::later;
    }
    if (words == "bytes") return ipcm::Content::bytes("not JSON");
    if (words == "end") {
      terminate(5);
      return "ending";
    }
    const std::string out = "out " + words + "\n", original = "orig " + words + "\n";
    (void)!::write(1, out.data(), out.size());
    (void)!::write(orig_io().out, original.data(), original.size());
    return "said";
  }
  void on_interval() override {
    for (const ipcm::Request& request : asked_for_tick_) send_response(request, "tock");
    asked_for_tick_.clear();
  }

 private:
  std::vector<ipcm::Request> asked_for_tick_;
};

}  // namespace

int main(int argc, char** argv) {
  ipcm::Registry registry = ipcm::builtin_services();
  registry.add<Speaker>("speaker", "speaks");
  const char* how = std::getenv("SELF_BOOT");
  ipcm::BeginOptions options;
  options.run_returns_to_caller = how != nullptr && std::string_view(how) == "returns";
  ipcm::BootResult begun = ipcm::begin(argc, argv, registry, options);
  if (begun.status()) {
    (void)std::fprintf(stderr, "going on after %d\n", *begun.status());
    return 100 + *begun.status();
  }
  if (begun.is_service()) {
    (void)std::fprintf(stderr, "serving from main\n");
    return begun.run();
  }
  (void)std::printf("as itself, with %d arguments\n", argc - 1);
  return 3;
}
