#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "os/descriptor.h"

namespace ipcm::os {

/// The kind of a directory entry.
enum class FileKind { none, regular, directory, socket, fifo, other };

struct FileFacts {
  FileKind kind = FileKind::none;
  std::uint64_t device = 0, inode = 0;
  unsigned owner = 0;   ///< user id
  unsigned mode = 0;    ///< permission bits
  double modified = 0;  ///< Unix seconds
  std::uint64_t size = 0;
  std::uint64_t links = 0;  ///< 0: the file was removed, and is only held open
};

/// Whether an errno reports a shortage of the machine and says nothing about the file: no descriptors, memory
/// or space left, or a failing disk.
[[nodiscard]] bool is_shortage(int error);

// An error is never an answer: if memory or descriptors are short, or the disk fails, a file is neither
// absent nor empty. Such a call throws SystemError.

/// A directory that is held open. All names below it are reached through its descriptor, so that neither the
/// length of its path nor a rename matters.
class Directory {
 public:
  /// Throws SystemError.
  explicit Directory(std::string path);
  /// Opens a directory below another one. Returns nullopt if the name is no directory; a symbolic link is
  /// none.
  [[nodiscard]] static std::optional<Directory> below(const Directory& parent, const std::string& name);
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Returns its present path, with symbolic links resolved. Throws SystemError.
  [[nodiscard]] std::string real_path() const;
  [[nodiscard]] FileFacts facts() const;  ///< Facts about the directory itself.
  /// Returns facts about the name itself, not about the target of a link. Kind none: there is no such name.
  [[nodiscard]] FileFacts look(const std::string& name) const;
  /// Whether a trusted user owns a file: the user of this process, root, or the owner of the directory.
  [[nodiscard]] bool is_trusted(const FileFacts& file) const { return is_trusted_user(file.owner); }
  [[nodiscard]] bool is_trusted_user(unsigned user) const;
  [[nodiscard]] std::vector<std::string> names() const;  ///< Without . and ..
  /// Counts the names that end in `suffix`.
  [[nodiscard]] std::size_t count_names(std::string_view suffix) const;
  /// Returns the content; nullopt if there is no such file. Throws SystemError if it is no plain file of a
  /// trusted user (a FIFO would block), and ProtocolError beyond `limit` bytes.
  [[nodiscard]] std::optional<std::string> read_file(const std::string& name,
                                                     std::size_t limit = 1U << 20U) const;
  /// The same for small files that other processes have written. Returns nullopt also for a file that
  /// read_file() would refuse: it is no file of a peer. Throws SystemError only if nothing can be said
  /// (is_shortage()).
  [[nodiscard]] std::optional<std::string> read_note(const std::string& name,
                                                     std::size_t limit = 1U << 20U) const;
  /// Writes a file whole or not at all: under a hidden name, which is then renamed. Throws SystemError.
  void write_file(const std::string& name, std::string_view content, unsigned mode = 0644) const;
  /// Writes a file under its own name from the first byte on. If that fails, removes it. Throws SystemError.
  void write_in_place(const std::string& name, std::string_view content, unsigned mode = 0644) const;
  /// Makes a directory. Throws SystemError if the name exists, unless it is a directory and `fine_if_there`
  /// is set.
  void make_directory(const std::string& name, unsigned mode, bool fine_if_there = false) const;
  /// Returns false if it is not empty or can't be removed, and true if it does not exist.
  [[nodiscard]] bool remove_empty_directory(const std::string& name) const noexcept;
  /// Opens a file for reading and writing, and makes it if needed; `created` says whether. Throws SystemError
  /// also if it is no plain file, or has a second name (a hard link), under which it may be a file of another
  /// program.
  [[nodiscard]] UniqueFd open_or_create(const std::string& name, unsigned mode, bool* created) const;
  /// Opens a file for reading. Empty if it does not exist or this process may not read it.
  [[nodiscard]] UniqueFd open_existing(const std::string& name) const;
  /// Returns false if the file stays, and true if it does not exist.
  bool remove_file(const std::string& name) const noexcept;
  /// Renames within this directory, and replaces an existing file. Throws SystemError.
  void rename(const std::string& from, const std::string& to) const;
  /// Renames a file, unless the new name exists. Throws SystemError (EEXIST if it does).
  void rename_to_new(const std::string& from, const std::string& to) const;
  /// Exchanges the names of two files, in one step. Throws SystemError: ENOENT if one of them does not exist, EINVAL if the
  /// file system can't do it.
  void exchange(const std::string& one, const std::string& other) const;
  /// Appends to a file, and makes it if needed. Throws SystemError.
  void append_to_file(const std::string& name, std::string_view bytes, unsigned mode = 0644) const;
  /// Returns "/proc/self/fd/N/name": a short path to a file below, for system calls that accept only paths.
  [[nodiscard]] std::string short_path(const std::string& name) const;

 private:
  Directory(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  /// Makes a new file, open for writing, in place of an existing one.
  [[nodiscard]] UniqueFd open_fresh(const std::string& name, unsigned mode) const;
  std::string path_;
  UniqueFd fd_;
  mutable std::optional<unsigned> owner_;  // read once
};

/// Makes a directory of mode 0700 named `prefix` + six random letters below `parent`; returns its path.
[[nodiscard]] std::string make_private_directory(const std::string& parent, const std::string& prefix);
/// Makes an empty file of mode 0600 named `prefix` + six random letters + `suffix`; returns its path.
[[nodiscard]] std::string make_private_file(const std::string& parent, const std::string& prefix,
                                            const std::string& suffix);
/// Returns false if the file stays, and true if it does not exist.
bool remove_file(const std::string& path) noexcept;

/// Returns a new hidden name for a file that gets its own name by Directory::rename_to_new() once it is complete. Those who
/// remove a bus know these names (docs/bus.md, "Files").
[[nodiscard]] std::string pending_name();
/// Returns false if it is not empty or can't be removed, and true if it does not exist.
bool remove_empty_directory(const std::string& path) noexcept;
/// Returns facts about the target of a path. Kind none: this process can't reach it.
[[nodiscard]] FileFacts look_at(const std::string& path);
[[nodiscard]] FileFacts facts_of(int fd);
/// Returns all descriptors of this process that lead to that file, also those that the host has opened.
/// Throws SystemError.
[[nodiscard]] std::vector<int> open_descriptors_of(const FileFacts& file);
/// Empties an open file, so that writing begins at its start.
void truncate(int fd);
/// Returns 0 if that file can be executed, otherwise errno.
[[nodiscard]] int why_not_executable(const std::string& path);
/// Returns the first executable file of that name on $PATH, as execvp() searches for it.
[[nodiscard]] std::optional<std::string> find_on_path(const std::string& name);
/// Returns the directory for short-lived files of the user: $XDG_RUNTIME_DIR if this user owns it, else
/// $TMPDIR, else /tmp.
[[nodiscard]] std::string runtime_directory();
/// Returns all directories that runtime_directory() may return under another environment.
[[nodiscard]] std::vector<std::string> runtime_directories();
[[nodiscard]] unsigned own_user();
[[nodiscard]] std::optional<std::string> environment(const char* name);
[[nodiscard]] std::string current_directory();
/// Returns the path in a form for processes with another working directory.
[[nodiscard]] std::string absolute(const std::string& path);

}  // namespace ipcm::os
