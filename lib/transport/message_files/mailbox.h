#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "os/directory.h"
#include "transport/transport.h"
#include "wire/serializer.h"

namespace ipcm::transport {

/// A directory of message files, for its reader: which files exist, which were handed out, which are
/// acknowledged.
///
/// Order: a listing of a directory that others write to may contain a newer file and miss an older one. So
/// new files are listed twice: the second listing has all predecessors of the files in the first. Files
/// that only the second one has are handed out for each sender up to the last file of the first one.
///
/// Memory: at most kLargestBatch of content is handed out at once. A larger amount is read twice: for its
/// stamps, then for its content in their order.
class Mailbox {
 public:
  static constexpr std::size_t kLargestBatch = 64UL * 1024 * 1024;

  Mailbox(os::Directory directory, std::shared_ptr<const wire::Serializer> serializer, std::string reader);

  /// Hands out the messages that were not handed out before, oldest first, up to one batch. Returns whether
  /// there are more. Removes files that are no messages, and reports them.
  bool take(Receiver& receiver);
  /// Removes the file of a message that was handed out; false: there is none.
  bool remove(const std::string& id);
  /// Returns the files that a sender is writing, or has not finished.
  [[nodiscard]] std::vector<std::string> pending() const;
  [[nodiscard]] const os::Directory& directory() const { return directory_; }

  static constexpr std::string_view kReady = ".ready";
  static constexpr std::string_view kPending = ".pend";

 private:
  struct Key {
    double stamp;
    std::uint64_t ord;
    std::string file;
    friend bool operator<(const Key& a, const Key& b) {
      return std::tie(a.stamp, a.ord, a.file) < std::tie(b.stamp, b.ord, b.file);
    }
  };
  using Stamp = std::pair<double, std::uint64_t>;
  struct Known {
    std::string id;
    std::string from;
    Stamp stamp;
    bool handed_out = false;
  };

  [[nodiscard]] std::vector<std::string> unknown_files() const;
  [[nodiscard]] std::optional<Message> read(const std::string& file, Receiver& receiver);
  void note(const std::string& file, Receiver& receiver);
  void forget(const std::string& file);

  os::Directory directory_;
  std::shared_ptr<const wire::Serializer> serializer_;
  std::string reader_;
  std::unordered_map<std::string, Known> known_;                  // by file
  std::unordered_multimap<std::string, std::string> handed_out_;  // files by id
  std::set<Key> waiting_;
  std::unordered_map<std::string, Message> loaded_;  // while a batch is put together
  std::size_t loaded_bytes_ = 0;
};

}  // namespace ipcm::transport
