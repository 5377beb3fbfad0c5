#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ipcm::transport {

/// The longest peer name, in bytes, that is its own file name if endpoints are files or pipes: the limit of
/// the reference. It leaves room for the suffixes of the files beside an endpoint.
inline constexpr std::size_t kLongestName = 200;

/// Translates names of peers into file names: the name itself if it can be a file name, else `h-` and the
/// first 40 hex digits of its SHA-256 (a file beside the endpoint then holds the real name). The rule is
/// that of the reference, so that its peers find ours. Names that no listing would show (hidden, or with a
/// suffix of the files beside an endpoint) are hashed too.
class DiskNames {
 public:
  /// `longest`: the longest name that is its own file name.
  explicit DiskNames(std::size_t longest) : longest_(longest) {}
  [[nodiscard]] std::string of(const std::string& peer) const;
  [[nodiscard]] static bool is_hashed(const std::string& disk_name);
  /// Returns whether a file name can be that of an endpoint.
  [[nodiscard]] static bool may_be_endpoint(const std::string& file);

 private:
  std::size_t longest_;
};

/// Returns the longest name that is its own file name if endpoints are sockets. The reference allows 104
/// bytes, the size of its socket addresses, less the route and two.
[[nodiscard]] std::size_t longest_socket_name(const std::string& route);

/// Throws UsageError for an invalid peer name.
void check_peer_name(const std::string& peer);

/// Returns whether a name has the form PREFIX-PID-XXXXXX and the suffix, which the reference and this
/// library give to what they make.
[[nodiscard]] bool is_made_name(std::string_view name, std::string_view prefix, std::string_view suffix = {});

}  // namespace ipcm::transport
