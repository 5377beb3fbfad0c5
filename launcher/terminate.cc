#include "terminate.h"

#include "ipcm/error.h"

namespace ipcm::launcher {
namespace {

struct Terminate {
  bool terminate = false;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(ipcm::optional("terminate", terminate));
  }
};

}  // namespace

bool asks_to_terminate(const Content& content) {
  constexpr std::size_t kLongest = 100;
  if (content.is_bytes() || content.size() > kLongest || !content.json().starts_with('{')) return false;
  try {
    return content.as<Terminate>().terminate;
  } catch (const ProtocolError&) {
    return false;  // its value is no truth value
  }
}

}  // namespace ipcm::launcher
