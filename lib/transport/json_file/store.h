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
/// Peers of the reference hold the same file open, so it can't be replaced: it is rewritten in place. Whoever
/// is killed over that leaves half of a text. So ours write the new text into the sidecar's journal first;
/// if the file can't be read, and the journal is whole, the next one who comes puts that in its place.
class JsonStore {
 public:
  static constexpr const char* kJournal = ".journal";
  static constexpr std::size_t kLargestFile = 1024UL * 1024 * 1024;

  /// Throws BusError where there is no such bus.
  explicit JsonStore(const std::string& route);
  JsonStore(const JsonStore&) = delete;
  JsonStore& operator=(const JsonStore&) = delete;
  ~JsonStore();

  enum class Result { done, gone, busy };
  /// Calls `look` with what is there. busy: somebody holds the lock beyond the deadline. gone: the bus was
  /// removed. Throws ProtocolError if the file is broken.
  [[nodiscard]] Result read(const std::function<void(const JsonDocument&)>& look, os::Deadline deadline);
  /// The same; if `change` returns true, writes what it has made of it.
  [[nodiscard]] Result change(const std::function<bool(JsonDocument&)>& change, os::Deadline deadline);

  /// Whether another file stands there than the one that could be read last. It may be the bus all the same.
  [[nodiscard]] bool was_replaced() const;

  [[nodiscard]] const Sidecar& sidecar() const { return sidecar_; }
  /// Writes an empty document into an empty file; leaves one alone that is there.
  static void prepare(const std::string& route);
  /// Whether the file holds a document of a bus, and nothing else.
  [[nodiscard]] static bool is_bus(const std::string& route);
  static void empty(const std::string& route);

 private:
  /// false: the open file was removed since.
  [[nodiscard]] bool load(int file, JsonDocument& document);
  [[nodiscard]] JsonDocument parse(int file);
  void open_journal();  // by who holds the lock of the file
  [[nodiscard]] std::string journalled();
  void write(int file, const std::string& text);

  std::string route_;
  Sidecar sidecar_;
  os::UniqueFd journal_;
  std::uint64_t device_ = 0, inode_ = 0;  // of the file that could be read last
};

}  // namespace ipcm::transport
