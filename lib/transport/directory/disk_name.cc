#include "transport/directory/disk_name.h"

#include <sys/types.h>

extern "C" {
#include <sha2.h>
}

#include <algorithm>
#include <array>
#include <string_view>

#include "ipcm/error.h"
#include "wire/json_text.h"

namespace ipcm::transport {
namespace {

constexpr std::size_t kHashDigits = 40;
constexpr std::string_view kHashPrefix = "h-";

std::string hashed(const std::string& peer) {
  std::array<char, SHA256_DIGEST_STRING_LENGTH> digits{};
  ::SHA256Data(reinterpret_cast<const std::uint8_t*>(peer.data()), peer.size(), digits.data());
  return std::string(kHashPrefix) + std::string(digits.data(), kHashDigits);
}

}  // namespace

bool DiskNames::may_be_endpoint(const std::string& file) {
  if (file.empty() || file.front() == '.' || file.front() == '_') return false;
  for (const std::string_view beside : {".pid", ".name", ".resume", ".stats", ".suspend", ".pend"})
    if (file.ends_with(beside)) return false;
  return true;
}

bool DiskNames::is_hashed(const std::string& disk_name) {
  return disk_name.size() == kHashPrefix.size() + kHashDigits && disk_name.starts_with(kHashPrefix);
}

std::string DiskNames::of(const std::string& peer) const {
  const bool safe = std::all_of(peer.begin(), peer.end(),
                                [](char c) { return !(c >= 0 && c < 0x20) && c != '/' && c != '\\'; });
  if (safe && peer.size() <= longest_ && !peer.starts_with(kHashPrefix) && may_be_endpoint(peer)) return peer;
  return hashed(peer);
}

std::size_t longest_socket_name(const std::string& route) {
  constexpr std::size_t kAddress = 104, kExtra = 2;
  return route.size() + kExtra < kAddress ? kAddress - kExtra - route.size() : 0;
}

void check_peer_name(const std::string& peer) {
  if (peer.empty()) throw UsageError("the name of a peer may not be empty");
  if (peer.front() == '_') throw UsageError("the name '" + peer + "' may not begin with '_'");
  if (peer.find('\0') != std::string::npos) throw UsageError("the name of a peer may not contain a NUL byte");
  try {
    (void)wire::json_string(peer);
  } catch (const ProtocolError&) {
    throw UsageError("the name of a peer has to be UTF-8: messages carry it as JSON");
  }
  if (peer == "0") throw UsageError("the name '0' may not be used: Perl peers take it for no name at all");
}

}  // namespace ipcm::transport
