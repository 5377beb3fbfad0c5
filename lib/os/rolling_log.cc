#include "os/rolling_log.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "os/directory.h"
#include "os/pipe.h"
#include "os/process.h"
#include "os/sys.h"

namespace ipcm::os {
namespace {

constexpr int kFlags = O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

bool is_own_file(const FileFacts& facts) {
  return facts.kind == FileKind::regular && facts.owner == own_user();
}

/// Copies the last part of `file` to the file at `path`, replacing its content.
void keep(int file, std::uint64_t size, const std::string& path) {
  const UniqueFd older(quiet([&] { return ::open(path.c_str(), O_WRONLY | O_CREAT | kFlags, 0600); }));
  if (!older || !is_own_file(facts_of(older.get()))) return;
  // sendfile() refuses to write to a file that is open for appending.
  (void)::fcntl(older.get(), F_SETFL, 0);
  truncate(older.get());
  off_t at = size > RollingLog::kLargest ? static_cast<off_t>(size - RollingLog::kLargest) : 0;
  while (at < static_cast<off_t>(size)) {
    const auto left = static_cast<std::size_t>(static_cast<off_t>(size) - at);
    if (quiet([&] { return ::sendfile(older.get(), file, &at, left); }) <= 0) return;
  }
}

}  // namespace

UniqueFd RollingLog::open(const std::string& path) {
  UniqueFd file(sys("open log", path, [&] { return ::open(path.c_str(), O_RDWR | O_CREAT | kFlags, 0600); }));
  if (!is_own_file(facts_of(file.get())))
    throw SystemError(EPERM, "open log '" + path + "': something else than a file of this user stands there");
  return file;
}

void make_private_path(const std::string& path) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1))
    (void)::mkdir(path.substr(0, at).c_str(), 0700);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    throw SystemError(errno, "make directory '" + path + "'");
  constexpr unsigned kOthersMayWrite = 0022;
  const FileFacts facts = look_at(path);
  if (facts.kind != FileKind::directory || facts.owner != own_user() || (facts.mode & kOthersMayWrite) != 0)
    throw SystemError(EPERM, "use directory '" + path + "': it is not a private directory of this user");
}

void RollingLog::roll_beyond(std::uint64_t most) const noexcept {
  try {
    const FileFacts facts = facts_of(file_.get());
    if (facts.kind != FileKind::regular || facts.size <= most) return;
    // Without /proc, or after the file was removed, there is no name for the older part.
    const std::string path = where_leads(own_pid(), file_.get());
    const FileFacts named = look_at(path);
    if (named.inode == facts.inode && named.device == facts.device)
      keep(file_.get(), facts.size, path + kOlder);
    (void)::ftruncate(file_.get(), 0);
  } catch (const Error&) {
    (void)::ftruncate(file_.get(), 0);
  }
}

void RollingLog::append(std::string_view bytes) const noexcept {
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, kLargest);
    roll_beyond(kLargest - piece.size());
    if (!try_write_all(file_.get(), piece)) return;
    bytes.remove_prefix(piece.size());
  }
}

}  // namespace ipcm::os
