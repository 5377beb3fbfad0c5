#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ipcm::transport {

/// The longest name that stands for itself where endpoints are files or pipes, in bytes: the reference's
/// limit. It leaves room for the endings of the files beside an endpoint.
inline constexpr std::size_t kLongestName = 200;

/// How the names of peers become file names in a bus's directory: the name itself where that can stand, else
/// `h-` and the first 40 hex digits of its SHA-256 (the real name is then in a file beside it). The rule is
/// the reference's, so that its peers find ours; where it would make a name that no listing shows (hidden, or
/// ending like one of the files beside an endpoint), we hash too.
class DiskNames {
 public:
  /// `longest`: of a name that stands for itself.
  explicit DiskNames(std::size_t longest) : longest_(longest) {}
  [[nodiscard]] std::string of(const std::string& peer) const;
  [[nodiscard]] static bool is_hashed(const std::string& disk_name);
  /// Whether a file of the directory can be a peer's endpoint, by its name.
  [[nodiscard]] static bool may_be_endpoint(const std::string& file);

 private:
  std::size_t longest_;
};

/// The longest name that stands for itself where endpoints are sockets: the reference allows as much as its
/// own socket addresses do, 104 bytes less the route and two.
[[nodiscard]] std::size_t longest_socket_name(const std::string& route);

/// Throws UsageError for a name that no peer can have.
void check_peer_name(const std::string& peer);

/// As the reference names what it makes: PREFIX-PID-XXXXXX, then the suffix.
[[nodiscard]] bool is_made_name(std::string_view name, std::string_view prefix, std::string_view suffix = {});

}  // namespace ipcm::transport
