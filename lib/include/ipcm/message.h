#pragma once

#include <cstdint>
#include <exception>
#include <map>
#include <string>
#include <vector>

#include "ipcm/content.h"

namespace ipcm {

/// Fields of a message that the caller defines: names, and any JSON value except null. A name is UTF-8, not empty, none
/// of the names of Message, not `hello`, and does not begin with `ipcm_`: those are for the library. At most 64
/// fields and 64 KiB in all.
///
/// The serializers JSON and JSON::Zstd carry them. The serializer Cereal and databases can't: sending fields there
/// throws UsageError.
using Fields = std::map<std::string, Content>;

/// What a sender adds to a message or a request.
struct MessageOptions {
  Fields fields = {};
};

/// One message on a bus. docs/bus.md has its form on the wire.
struct Message {
  std::string id;  ///< An upper-case UUID; of version 7 if this library made it.
  /// The name that the sender claims. Only the permissions of the bus's directory protect it.
  std::string from;
  std::string to;
  double stamp = 0;             ///< The time of sending in Unix seconds, by the clock of the sender.
  std::uint64_t stamp_ord = 0;  ///< Distinguishes messages of one sender that have the same stamp.
  bool broadcast = false;
  Content content;     ///< Any JSON value except null, or bytes.
  Fields fields = {};  ///< The sender's own fields.
};

/// The result of a broadcast: each peer of the bus is in one of the three.
struct BroadcastResult {
  std::vector<std::string> sent;              ///< The message is on its way to these peers.
  std::vector<std::string> left;              ///< These peers have left the bus meanwhile.
  std::map<std::string, std::string> failed;  ///< These peers can't receive it, for this reason.
  std::exception_ptr first_failure;           ///< The first exception behind `failed`; null: there is none.
  /// Throws it: Timeout, or Error for a full queue. Peers that have left are no failure.
  void expect_sent() const {
    if (first_failure) std::rethrow_exception(first_failure);
  }
};

}  // namespace ipcm
