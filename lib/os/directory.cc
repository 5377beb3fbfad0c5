#include "os/directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <climits>
#include <cstdio>
#include <cstdlib>

#include "os/pipe.h"
#include "os/random.h"
#include "os/sys.h"

namespace ipcm::os {
namespace {

FileFacts facts_from(const struct stat& from) {
  FileFacts facts;
  switch (from.st_mode & S_IFMT) {
    case S_IFREG:
      facts.kind = FileKind::regular;
      break;
    case S_IFDIR:
      facts.kind = FileKind::directory;
      break;
    case S_IFSOCK:
      facts.kind = FileKind::socket;
      break;
    case S_IFIFO:
      facts.kind = FileKind::fifo;
      break;
    default:
      facts.kind = FileKind::other;
  }
  facts.device = from.st_dev;
  facts.inode = from.st_ino;
  facts.owner = from.st_uid;
  facts.mode = from.st_mode & 07777U;
  facts.modified =
      static_cast<double>(from.st_mtim.tv_sec) + static_cast<double>(from.st_mtim.tv_nsec) * 1e-9;
  facts.size = static_cast<std::uint64_t>(from.st_size);
  facts.links = from.st_nlink;
  return facts;
}

/// Whether an errno says that there is no such file for this process; all other errors say nothing.
bool is_absence(int error) {
  return error == ENOENT || error == ENOTDIR || error == ELOOP || error == ENAMETOOLONG || error == EACCES;
}

/// Throws unless it is a plain file with one name: another process that may write here could have made it a
/// link to one of our files.
UniqueFd expect_plain(UniqueFd file, const std::string& path, const std::string& name) {
  const FileFacts facts = facts_of(file.get());
  if (facts.kind == FileKind::regular && facts.links <= 1) return file;
  throw SystemError(EINVAL, "open '" + path + "/" + name +
                                (facts.kind == FileKind::regular ? "': it has a second name (a hard link)"
                                                                 : "': it is no plain file"));
}

/// Reads a plain file: a read that returns fewer bytes than requested has reached the end.
std::string read_file_of(int fd, std::uint64_t size, std::size_t limit, const char* what) {
  std::string all;
  for (bool more = true; more;) {
    if (size > limit || all.size() > limit)
      throw ProtocolError(std::string(what) + ": larger than the limit of " + std::to_string(limit) +
                          " bytes");
    constexpr std::size_t kShort = 1024, kLong = 16UL * 1024;
    const std::size_t before = all.size(), most = size < kShort ? kShort : kLong;
    more = read_some(fd, all, most, what) == ReadResult::some && all.size() - before == most;
  }
  return all;
}

/// Reads through a file description of its own, since reading a shared one would move its position. Calls
/// getdents64() itself: readdir() makes three more system calls for each listing, and each start and end of a
/// service makes many listings.
template <class Each>
void list_names(int directory, const std::string& path, Each&& each) {
  const auto subject = [&] { return path; };
  const UniqueFd fd(
      sys("list", subject, [&] { return ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  alignas(dirent64) std::array<char, 16UL * 1024> buffer;
  for (;;) {
    const ssize_t size = quiet([&] { return ::getdents64(fd.get(), buffer.data(), buffer.size()); });
    if (size == 0 || (size < 0 && errno == ENOENT))
      return;  // the end, or the directory was removed and has no names
    if (size < 0) throw SystemError(errno, "list '" + path + "'");
    for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer.data() + at);
      at += entry->d_reclen;
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") each(entry->d_name);
    }
  }
}

}  // namespace

Directory::Directory(std::string path) : path_(std::move(path)) {
  fd_ = UniqueFd(sys("open directory", path_,
                     [&] { return ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
}

std::optional<Directory> Directory::below(const Directory& parent, const std::string& name) {
  UniqueFd fd(quiet([&] {
    return ::openat(parent.fd_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  }));
  std::string path = parent.path_ + "/" + name;
  if (fd) return Directory(std::move(path), std::move(fd));
  if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return std::nullopt;
  throw SystemError(errno, "open directory '" + path + "'");
}

bool is_shortage(int error) {
  switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EIO:
    case ENOSPC:
    case EDQUOT:
    case EINTR:
    case EAGAIN:
      return true;
    default:
      return false;
  }
}

FileFacts Directory::facts() const {
  const FileFacts facts = facts_of(fd_.get());
  owner_ = facts.owner;
  return facts;
}

bool Directory::is_trusted_user(unsigned user) const {
  if (!owner_) owner_ = facts_of(fd_.get()).owner;
  return user == *owner_ || user == 0 || user == own_user();
}

std::string Directory::real_path() const {
  std::array<char, PATH_MAX> path{};
  const std::string link = "/proc/self/fd/" + std::to_string(fd_.get());
  const auto size = sys("find", path_, [&] { return ::readlink(link.c_str(), path.data(), path.size()); });
  return {path.data(), static_cast<std::size_t>(size)};
}

FileFacts Directory::look(const std::string& name) const {
  struct stat found {};
  if (::fstatat(fd_.get(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0) return facts_from(found);
  if (is_absence(errno)) return {};
  throw SystemError(errno, "look at '" + path_ + "/" + name + "'");
}

std::vector<std::string> Directory::names() const {
  std::vector<std::string> names;
  list_names(fd_.get(), path_, [&](const char* name) { names.emplace_back(name); });
  return names;
}

std::size_t Directory::count_names(std::string_view suffix) const {
  std::size_t count = 0;
  list_names(fd_.get(), path_,
             [&](const char* name) { count += std::string_view(name).ends_with(suffix) ? 1 : 0; });
  return count;
}

std::optional<std::string> Directory::read_file(const std::string& name, std::size_t limit) const {
  const UniqueFd file(quiet(
      [&] { return ::openat(fd_.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); }));
  const auto subject = [&] { return "read '" + path_ + "/" + name + "'"; };
  if (!file) {
    if (errno == ENOENT) return std::nullopt;
    throw SystemError(errno, subject());
  }
  const FileFacts facts = facts_of(file.get());
  if (facts.kind != FileKind::regular)
    throw SystemError(facts.kind == FileKind::directory ? EISDIR : EINVAL,
                      subject() + ": it is no plain file");
  if (!is_trusted(facts))
    throw SystemError(EPERM, subject() + ": it belongs to user " + std::to_string(facts.owner));
  return read_file_of(file.get(), facts.size, limit, name.c_str());
}

std::optional<std::string> Directory::read_note(const std::string& name, std::size_t limit) const {
  try {
    return read_file(name, limit);
  } catch (const ProtocolError&) {
    return std::nullopt;
  } catch (const SystemError& error) {
    if (is_shortage(error.code())) throw;
    return std::nullopt;
  }
}

UniqueFd Directory::open_fresh(const std::string& name, unsigned mode) const {
  // Never writes into an existing file: its owner may have linked it to another file.
  for (;;) {
    constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    UniqueFd file(quiet([&] { return ::openat(fd_.get(), name.c_str(), kFlags, mode); }));
    if (file) return file;
    if (errno != EEXIST) throw SystemError(errno, "write '" + path_ + "/" + name + "'");
    sys(
        "replace", [&] { return path_ + "/" + name; },
        [&] { return ::unlinkat(fd_.get(), name.c_str(), 0) == 0 || errno == ENOENT ? 0 : -1; });
  }
}

void Directory::write_file(const std::string& name, std::string_view content, unsigned mode) const {
  const std::string pending = "." + name + ".pend";
  write_in_place(pending, content, mode);
  rename(pending, name);
}

void Directory::write_in_place(const std::string& name, std::string_view content, unsigned mode) const {
  const UniqueFd file = open_fresh(name, mode);
  try {
    write_all(file.get(), content, name.c_str());
  } catch (...) {
    remove_file(name);
    throw;
  }
}

void Directory::make_directory(const std::string& name, unsigned mode, bool fine_if_there) const {
  if (::mkdirat(fd_.get(), name.c_str(), mode) == 0) return;
  const int error = errno;
  if (error == EEXIST && fine_if_there && look(name).kind == FileKind::directory) return;
  throw SystemError(error, "make directory '" + path_ + "/" + name + "'");
}

bool Directory::remove_empty_directory(const std::string& name) const noexcept {
  const int saved = errno;
  const bool gone = ::unlinkat(fd_.get(), name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT;
  errno = saved;
  return gone;
}

UniqueFd Directory::open_or_create(const std::string& name, unsigned mode, bool* created) const {
  for (;;) {
    constexpr int kFlags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    UniqueFd file(quiet([&] { return ::openat(fd_.get(), name.c_str(), kFlags | O_CREAT | O_EXCL, mode); }));
    *created = static_cast<bool>(file);
    if (file) return file;
    if (errno != EEXIST) throw SystemError(errno, "make '" + path_ + "/" + name + "'");
    file = UniqueFd(quiet([&] { return ::openat(fd_.get(), name.c_str(), kFlags); }));
    if (file) return expect_plain(std::move(file), path_, name);
    if (errno != ENOENT)
      // otherwise another process has just removed it
      throw SystemError(errno, "open '" + path_ + "/" + name + "'");
  }
}

UniqueFd Directory::open_existing(const std::string& name) const {
  UniqueFd file(quiet(
      [&] { return ::openat(fd_.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); }));
  if (!file && !is_absence(errno)) throw SystemError(errno, "open '" + path_ + "/" + name + "'");
  return file;
}

bool Directory::remove_file(const std::string& name) const noexcept {
  const int saved = errno;
  const bool gone = ::unlinkat(fd_.get(), name.c_str(), 0) == 0 || errno == ENOENT;
  errno = saved;
  return gone;
}

void Directory::rename(const std::string& from, const std::string& to) const {
  sys(
      "rename to", [&] { return path_ + "/" + to; },
      [&] { return ::renameat(fd_.get(), from.c_str(), fd_.get(), to.c_str()); });
}

void Directory::exchange(const std::string& one, const std::string& other) const {
  sys(
      "exchange names with", [&] { return path_ + "/" + other; },
      [&] { return ::renameat2(fd_.get(), one.c_str(), fd_.get(), other.c_str(), RENAME_EXCHANGE); });
}

void Directory::rename_to_new(const std::string& from, const std::string& to) const {
  const auto subject = [&] { return path_ + "/" + to; };
  if (quiet([&] { return ::renameat2(fd_.get(), from.c_str(), fd_.get(), to.c_str(), RENAME_NOREPLACE); }) ==
      0)
    return;
  if (errno != EINVAL) throw SystemError(errno, "rename to '" + subject() + "'");
  // The file system does not have it.
  sys("link to", subject, [&] { return ::linkat(fd_.get(), from.c_str(), fd_.get(), to.c_str(), 0); });
  (void)remove_file(from);
}

void Directory::append_to_file(const std::string& name, std::string_view bytes, unsigned mode) const {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  const UniqueFd file = expect_plain(UniqueFd(sys(
                                         "append to", [&] { return path_ + "/" + name; },
                                         [&] { return ::openat(fd_.get(), name.c_str(), kFlags, mode); })),
                                     path_, name);
  write_all(file.get(), bytes, name.c_str());
}

std::string Directory::short_path(const std::string& name) const {
  return "/proc/self/fd/" + std::to_string(fd_.get()) + "/" + name;
}

std::string pending_name() {
  constexpr std::size_t kRandomLetters = 8;
  return "." + random_name(kRandomLetters) + ".pend";
}

std::string make_private_directory(const std::string& parent, const std::string& prefix) {
  constexpr std::size_t kRandomLetters = 6;
  for (;;) {
    std::string path = parent;
    path.append("/").append(prefix).append(random_name(kRandomLetters));
    if (::mkdir(path.c_str(), 0700) == 0) return path;
    if (errno != EEXIST) throw SystemError(errno, "make directory '" + path + "'");
  }
}

std::string make_private_file(const std::string& parent, const std::string& prefix,
                              const std::string& suffix) {
  constexpr std::size_t kRandomLetters = 6;
  for (;;) {
    std::string path = parent;
    path.append("/").append(prefix).append(random_name(kRandomLetters)).append(suffix);
    const UniqueFd file(
        quiet([&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600); }));
    if (file) return path;
    if (errno != EEXIST) throw SystemError(errno, "make file '" + path + "'");
  }
}

bool remove_file(const std::string& path) noexcept {
  const int saved = errno;
  const bool gone = ::unlink(path.c_str()) == 0 || errno == ENOENT;
  errno = saved;
  return gone;
}

bool remove_empty_directory(const std::string& path) noexcept {
  const int saved = errno;
  const bool gone = ::rmdir(path.c_str()) == 0 || errno == ENOENT;
  errno = saved;
  return gone;
}

FileFacts look_at(const std::string& path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) == 0) return facts_from(found);
  if (is_absence(errno)) return {};
  throw SystemError(errno, "look at '" + path + "'");
}

FileFacts facts_of(int fd) {
  struct stat found {};
  sys("look at", "open file", [&] { return ::fstat(fd, &found); });
  return facts_from(found);
}

std::vector<int> open_descriptors_of(const FileFacts& file) {
  std::vector<int> found;
  for (const std::string& name : Directory("/proc/self/fd").names()) {
    int fd = -1;
    (void)std::from_chars(name.data(), name.data() + name.size(), fd);
    struct stat here {};
    if (::fstat(fd, &here) == 0 && here.st_dev == file.device && here.st_ino == file.inode)
      found.push_back(fd);
  }
  return found;
}

void truncate(int fd) {
  sys("truncate", "open file", [&] { return ::ftruncate(fd, 0); });
  sys("rewind", "open file", [&] { return ::lseek(fd, 0, SEEK_SET); });
}

int why_not_executable(const std::string& path) {
  if (::access(path.c_str(), X_OK) != 0) return errno;
  return look_at(path).kind == FileKind::directory ? EACCES : 0;
}

std::optional<std::string> find_on_path(const std::string& name) {
  const std::string places = environment("PATH").value_or("/usr/local/bin:/usr/bin:/bin");
  for (std::size_t at = 0; at <= places.size();) {
    const std::size_t end = std::min(places.find(':', at), places.size());
    std::string candidate = (end == at ? std::string(".") : places.substr(at, end - at)) + "/" + name;
    if (why_not_executable(candidate) == 0) return candidate;
    at = end + 1;
  }
  return std::nullopt;
}

std::string absolute(const std::string& path) {
  return path.starts_with('/') ? path : current_directory() + "/" + path;
}

std::string runtime_directory() {
  if (const auto given = environment("XDG_RUNTIME_DIR"); given && given->starts_with('/')) {
    const FileFacts facts = look_at(*given);
    if (facts.kind == FileKind::directory && facts.owner == own_user()) return *given;
  }
  const auto temporary = environment("TMPDIR");
  return temporary && !temporary->empty() ? absolute(*temporary) : "/tmp";
}

std::vector<std::string> runtime_directories() {
  std::vector<std::string> all = {runtime_directory()};
  if (const auto temporary = environment("TMPDIR");
      temporary && !temporary->empty() && absolute(*temporary) != all.front())
    all.push_back(absolute(*temporary));
  for (const std::string& also : {std::string("/tmp"), "/run/user/" + std::to_string(own_user())})
    if (std::find(all.begin(), all.end(), also) == all.end()) all.push_back(also);
  return all;
}

unsigned own_user() { return ::geteuid(); }

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

std::string current_directory() {
  std::array<char, PATH_MAX> path{};
  return ::getcwd(path.data(), path.size()) == nullptr ? std::string(".") : std::string(path.data());
}

}  // namespace ipcm::os
