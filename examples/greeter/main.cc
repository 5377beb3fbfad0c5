// Starts the greeter twice, by exec and by fork, and asks both.
//   greeter PATH-OF-GREETER-BOOT

#include <iostream>

#include "greeter.h"

using namespace std::chrono_literals;

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: greeter PATH-OF-GREETER-BOOT\n";
    return 2;
  }

  // By exec: a process of its own, with nothing of ours in it.
  auto polite = ipcm::ipcm_service(
      "polite", {.class_name = "greeter", .args = Greeter::Args{"Good day"}, .exec = {{.path = argv[1]}}});
  std::cout << polite.sync_request<std::string>(Greeting{"you"}, 5s) << '\n';

  // By fork, from a registry in this program.
  ipcm::Registry registry;
  registry.add<Greeter>("greeter", "greets whoever is named");
  auto casual = ipcm::ipcm_service(
      "casual", {.class_name = "greeter", .args = Greeter::Args{"Hi"}, .registry = &registry});
  casual.send_request(Greeting{"there"}, [](const ipcm::Response& response) {
    std::cout << response.as<std::string>() << '\n';
  });
  casual.await_all_responses(5s);

  // What is wrong with a request is thrown here, and the service goes on.
  try {
    casual.sync_request(ipcm::Content::json(R"({"too":"few"})"), 5s);
  } catch (const ipcm::RemoteError& error) {
    std::cout << error.what() << '\n';
  }
  return 0;
  // Both handles go here, and their services and buses with them.
} catch (const ipcm::Error& error) {
  std::cerr << "greeter: " << error.what() << '\n';
  return 1;
}
