#include "bench/peers.h"

#include <stdexcept>

namespace ipcm::bench {

std::vector<const PeerLibrary*> peer_libraries() {
  return {
#ifdef BENCH_HAS_ZEROMQ
      &kZeromq,
#endif
#ifdef BENCH_HAS_NNG
      &kNng,
#endif
#ifdef BENCH_HAS_SD_BUS
      &kSdBus,
#endif
  };
}

const PeerLibrary& peer_library(const std::string& name) {
  for (const PeerLibrary* library : peer_libraries())
    if (name == library->name) return *library;
  throw std::runtime_error("this build has no " + name);
}

}  // namespace ipcm::bench
