#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "os/descriptor.h"

namespace ipcm::os {

/// What stands at a name.
enum class FileKind { none, regular, directory, socket, fifo, other };

struct FileFacts {
  FileKind kind = FileKind::none;
  std::uint64_t device = 0, inode = 0;
  unsigned owner = 0;   ///< user id
  unsigned mode = 0;    ///< permission bits
  double modified = 0;  ///< Unix seconds
  std::uint64_t size = 0;
  std::uint64_t links = 0;  ///< 0: removed, and only held open
};

/// Whether an errno is one of the machine, which tells nothing about the file: no descriptors, memory or
/// space left, or a disk that fails.
[[nodiscard]] bool is_shortage(int error);

// An error is never an answer: what can't be looked at for want of memory or descriptors, or because the disk
// fails, is neither absent nor empty. Such a call throws SystemError.

/// A directory held open: all names below it are reached through the descriptor, so that neither the length
/// of its path nor a rename matters.
class Directory {
 public:
  /// Throws SystemError.
  explicit Directory(std::string path);
  /// One below another; nullopt: no directory stands there (a link to one is none).
  [[nodiscard]] static std::optional<Directory> below(const Directory& parent, const std::string& name);
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Where it is now, links followed. Throws SystemError.
  [[nodiscard]] std::string real_path() const;
  [[nodiscard]] FileFacts facts() const;  ///< Of the directory itself.
  /// Of the name itself, not of what a link leads to. Kind none: not there.
  [[nodiscard]] FileFacts look(const std::string& name) const;
  /// Whether a file here was put here by somebody whom we trust: us, root, or the owner of the directory.
  [[nodiscard]] bool is_trusted(const FileFacts& file) const { return is_trusted_user(file.owner); }
  [[nodiscard]] bool is_trusted_user(unsigned user) const;
  [[nodiscard]] std::vector<std::string> names() const;  ///< Without . and ..
  /// How many names end like that.
  [[nodiscard]] std::size_t count_names(std::string_view suffix) const;
  /// nullopt: not there. Throws SystemError for what is no plain file of somebody whom we trust (a FIFO can't
  /// make us wait), and ProtocolError beyond `limit` bytes.
  [[nodiscard]] std::optional<std::string> read_file(const std::string& name,
                                                     std::size_t limit = 1U << 20U) const;
  /// The same for small files that others have written: nullopt also for what read_file() refuses, which is
  /// no file of a peer. Throws SystemError only where nothing can be told (is_shortage()).
  [[nodiscard]] std::optional<std::string> read_note(const std::string& name,
                                                     std::size_t limit = 1U << 20U) const;
  /// Whole or not at all: written under a hidden name, then renamed.
  void write_file(const std::string& name, std::string_view content, unsigned mode = 0644) const;
  /// Under that name from the first byte on; if that fails, nothing stays. Throws SystemError.
  void write_in_place(const std::string& name, std::string_view content, unsigned mode = 0644) const;
  /// Throws SystemError unless it is new, or `fine_if_there` and a directory.
  void make_directory(const std::string& name, unsigned mode, bool fine_if_there = false) const;
  /// false: it is not empty, or can't be removed. Not there: fine.
  [[nodiscard]] bool remove_empty_directory(const std::string& name) const noexcept;
  /// Opened for reading and writing, made if need be; `created` tells which. Throws SystemError also for what
  /// is no plain file, or has a second name (a hard link) by which it means something else.
  [[nodiscard]] UniqueFd open_or_create(const std::string& name, unsigned mode, bool* created) const;
  /// For reading; empty: it is not there, or not for us.
  [[nodiscard]] UniqueFd open_existing(const std::string& name) const;
  /// Not there: fine. false: it stayed.
  bool remove_file(const std::string& name) const noexcept;
  /// Onto another name of this directory, replacing what is there. Throws SystemError.
  void rename(const std::string& from, const std::string& to) const;
  /// At the end of a file that is made if need be. Throws SystemError.
  void append_to_file(const std::string& name, std::string_view bytes, unsigned mode = 0644) const;
  /// "/proc/self/fd/N/name": a short path to a file below, for calls that know paths only.
  [[nodiscard]] std::string short_path(const std::string& name) const;

 private:
  Directory(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  /// A new file of that name, open for writing; what stood there before goes.
  [[nodiscard]] UniqueFd open_fresh(const std::string& name, unsigned mode) const;
  std::string path_;
  UniqueFd fd_;
  mutable std::optional<unsigned> owner_;  // asked for once
};

/// Makes a directory of mode 0700 named `prefix` + six random letters below `parent`; returns its path.
[[nodiscard]] std::string make_private_directory(const std::string& parent, const std::string& prefix);
/// Makes an empty file of mode 0600 named `prefix` + six random letters + `suffix`; returns its path.
[[nodiscard]] std::string make_private_file(const std::string& parent, const std::string& prefix,
                                            const std::string& suffix);
/// Not there: fine. false: it stayed.
bool remove_file(const std::string& path) noexcept;
/// false: it is not empty, or can't be removed. Not there: fine.
bool remove_empty_directory(const std::string& path) noexcept;
/// Of what a path leads to. Kind none: nothing that we can reach.
[[nodiscard]] FileFacts look_at(const std::string& path);
[[nodiscard]] FileFacts facts_of(int fd);
/// The descriptors of this process that lead to that file, whoever has opened them. Throws SystemError.
[[nodiscard]] std::vector<int> open_descriptors_of(const FileFacts& file);
/// Empties an open file, for writing from its start.
void truncate(int fd);
/// Null if that file can be executed, otherwise errno.
[[nodiscard]] int why_not_executable(const std::string& path);
/// The first of that name on $PATH that can be executed, as execvp() looks for it.
[[nodiscard]] std::optional<std::string> find_on_path(const std::string& name);
/// For the user's own short-lived files: $XDG_RUNTIME_DIR if it is ours, else $TMPDIR, else /tmp.
[[nodiscard]] std::string runtime_directory();
/// All directories that runtime_directory() may have given in other circumstances.
[[nodiscard]] std::vector<std::string> runtime_directories();
[[nodiscard]] unsigned own_user();
[[nodiscard]] std::optional<std::string> environment(const char* name);
[[nodiscard]] std::string current_directory();
/// The same path for other processes, whose directory may be another one.
[[nodiscard]] std::string absolute(const std::string& path);

}  // namespace ipcm::os
