#include "transport/presence/disk_name.h"

#include <sys/types.h>

extern "C" {
#include <sha2.h>
}

#include <algorithm>
#include <array>
#include <cctype>
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

bool is_made_name(std::string_view name, std::string_view prefix, std::string_view suffix) {
  if (!name.starts_with(prefix) || !name.ends_with(suffix) || name.size() < prefix.size() + suffix.size())
    return false;
  name = name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
  const auto digits = name.find_first_not_of("0123456789");
  if (digits == std::string_view::npos || digits == 0 || name[digits] != '-') return false;
  const std::string_view letters = name.substr(digits + 1);
  constexpr std::size_t kLetters = 6;
  return letters.size() == kLetters && std::all_of(letters.begin(), letters.end(), [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
         });
}

}  // namespace ipcm::transport
