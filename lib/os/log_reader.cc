#include "os/log_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "os/directory.h"
#include "os/events.h"
#include "os/file_lock.h"
#include "os/rolling_log.h"
#include "os/sys.h"

namespace ipcm::os {
namespace {

constexpr std::size_t kMost = 2 * RollingLog::kLargest;

UniqueFd open_log(const std::string& path) {
  UniqueFd file(
      quiet([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY); }));
  if (file && facts_of(file.get()).kind != FileKind::regular) file.reset();
  return file;
}

}  // namespace

bool LogReader::open() {
  if (!file_) file_ = open_log(path_);
  return static_cast<bool>(file_);
}

bool LogReader::await_writers(Deadline deadline) {
  if (!open()) return true;
  const auto is_free = [&](Deadline until) {
    return lock_whole_file(file_.get(), LockKind::exclusive, until);
  };
  bool free = is_free(Deadline::passed());
  if (!free) {
    FileWatch watch(path_);
    free = is_free(Deadline::passed());  // the writer may have ended before the watch began
    // The kernel reports the close a moment before it releases the lock.
    while (!free && watch.await(deadline)) {
      (void)watch.read();
      constexpr auto kMoment = std::chrono::milliseconds(20);
      free = is_free(Deadline::after(kMoment));
    }
  }
  if (free) unlock_whole_file(file_.get());
  return free;
}

bool LogReader::was_removed() const { return file_ && facts_of(file_.get()).links == 0; }

std::string LogReader::read_from(int fd, std::uint64_t& at) const {
  std::string text;
  std::vector<char> piece(64UL * 1024);
  while (text.size() < kMost) {
    const auto got = sys("read log", path_,
                         [&] { return ::pread(fd, piece.data(), piece.size(), static_cast<off_t>(at)); });
    if (got == 0) break;
    text.append(piece.data(), static_cast<std::size_t>(got));
    at += static_cast<std::uint64_t>(got);
  }
  return text;
}

std::string LogReader::read_all() {
  std::string text;
  std::uint64_t from = 0;
  if (const UniqueFd older = open_log(path_ + RollingLog::kOlder)) text = read_from(older.get(), from);
  at_ = 0;
  return text + read_new();
}

std::string LogReader::read_end(std::size_t most) {
  const auto end_of = [&](int fd, std::size_t wanted) {
    const std::uint64_t size = facts_of(fd).size;
    std::uint64_t from = size - std::min<std::uint64_t>(size, wanted);
    std::string text = read_from(fd, from);  // it may have grown meanwhile
    if (text.size() > wanted) text.erase(0, text.size() - wanted);
    return text;
  };
  if (!open()) return {};
  std::string text = end_of(file_.get(), most);
  if (text.size() == most) return text;
  const UniqueFd older = open_log(path_ + RollingLog::kOlder);
  return older ? end_of(older.get(), most - text.size()) + text : text;
}

std::string LogReader::read_new() {
  if (!open()) return {};
  std::string text;
  if (facts_of(file_.get()).size < at_) {
    // The writer has begun a new file: the unread rest of the previous one is now in the older part.
    if (const UniqueFd older = open_log(path_ + RollingLog::kOlder)) text = read_from(older.get(), at_);
    at_ = 0;
  }
  return text + read_from(file_.get(), at_);
}

}  // namespace ipcm::os
