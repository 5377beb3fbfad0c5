#pragma once

#include <functional>
#include <string>

#include "os/clock.h"
#include "os/descriptor.h"
#include "transport/file/sidecar.h"
#include "transport/json_file/document.h"

namespace ipcm::transport {

/// The file of a JSONFile bus: read under a shared lock, changed under an exclusive one.
///
/// Peers of the reference hold the same file open, so it cannot be replaced: it is rewritten in place. A
/// process that is killed while it writes leaves an incomplete text. So this library first writes the new
/// text into the journal in the sidecar; if the file cannot be read, and the journal is complete, the next
/// reader writes that text into the file.
class JsonStore {
 public:
  static constexpr const char* kJournal = ".journal";
  static constexpr std::size_t kLargestFile = 1024UL * 1024 * 1024;

  /// Opens the store. Throws BusError if there is no such bus.
  explicit JsonStore(const std::string& route);
  JsonStore(const JsonStore&) = delete;
  JsonStore& operator=(const JsonStore&) = delete;
  ~JsonStore();

  enum class Result { done, gone, busy };
  /// Calls `look` with the document. busy: another process held the lock until the deadline. gone: the bus
  /// was removed. Throws ProtocolError if the file is damaged.
  [[nodiscard]] Result read(const std::function<void(const JsonDocument&)>& look, os::Deadline deadline);
  /// As read(); if `change` returns true, writes the changed document.
  [[nodiscard]] Result change(const std::function<bool(JsonDocument&)>& change, os::Deadline deadline);

  /// Returns whether the path now has another file than the one that was read last. It may be the same bus.
  [[nodiscard]] bool was_replaced() const;

  [[nodiscard]] const Sidecar& sidecar() const { return sidecar_; }
  /// Writes an empty document into an empty file; does not change a file with contents.
  static void prepare(const std::string& route);
  /// Returns whether the file contains the document of a bus, and nothing else.
  [[nodiscard]] static bool is_bus(const std::string& route);
  static void empty(const std::string& route);

 private:
  /// Returns false if the open file has been removed.
  [[nodiscard]] bool load(int file, JsonDocument& document);
  [[nodiscard]] JsonDocument parse(int file);
  void open_journal();  // the caller holds the lock of the file
  [[nodiscard]] std::string journalled();
  void write(int file, const std::string& text);

  std::string route_;
  Sidecar sidecar_;
  os::UniqueFd journal_;
  std::uint64_t device_ = 0, inode_ = 0;  // of the file that was read last
};

}  // namespace ipcm::transport
