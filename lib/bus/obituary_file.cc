#include "bus/obituary_file.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <utility>
#include <vector>

#include "bus/service_log.h"
#include "ipcm/error.h"
#include "ipcm/json_archive.h"
#include "ipcm/service_log.h"
#include "os/clock.h"
#include "os/log_reader.h"
#include "os/process.h"
#include "transport/presence/disk_name.h"
#include "transport/presence/lock_file.h"
#include "transport/presence/mark_file.h"
#include "transport/presence/peer_locks.h"
#include "wire/printable.h"

namespace ipcm::bus {
namespace {

using TimePoint = Obituary::TimePoint;

/// Two processes with one pid can't begin that close together. Its parent knows the start of a process less exactly than
/// the kernel does: a busy machine may let the parent wait before it looks at the clock.
constexpr auto kSameStart = std::chrono::seconds(10);
constexpr std::size_t kLargestFile = 64UL * 1024;
constexpr std::size_t kLongestNext = 200;
constexpr int kLargestStatus = 255, kLargestSignal = 127;

double seconds_of(TimePoint time) { return std::chrono::duration<double>(time.time_since_epoch()).count(); }

TimePoint checked_time(double seconds) {
  constexpr double kLatest = 9e9;  // the year 2255; the clock ends in 2262
  if (!std::isfinite(seconds) || seconds < 0 || seconds > kLatest)
    throw ProtocolError("an obituary has a time that can't be: " + std::to_string(seconds));
  return time_of(seconds);
}

/// The file as JSON. Unknown keys are those of a later version.
struct Document {
  Obituary& obituary;

  void save(JsonWriter& archive) const {
    const Obituary& one = obituary;
    archive(cereal::make_nvp("name", one.name), cereal::make_nvp("class", one.class_name));
    if (one.pid) archive(cereal::make_nvp("pid", *one.pid));
    if (one.started) archive(cereal::make_nvp("started", seconds_of(*one.started)));
    archive(cereal::make_nvp("ended", seconds_of(one.ended)));
    if (!one.status) {
      archive(cereal::make_nvp("unknown", one.why_unknown));
    } else if (one.status->how == ExitStatus::How::exited) {
      archive(cereal::make_nvp("status", one.status->value));
    } else {
      archive(cereal::make_nvp("signal", one.status->value),
              cereal::make_nvp("core_dumped", one.status->core_dumped));
    }
    if (!one.last_words.empty()) archive(cereal::make_nvp("last_words", one.last_words));
    if (!one.next.empty()) archive(cereal::make_nvp("next", one.next));
  }

  void load(JsonReader& archive) {
    std::optional<int> status, signal;
    std::optional<double> started;
    double ended = 0;
    bool core_dumped = false;
    archive(cereal::make_nvp("name", obituary.name), optional("class", obituary.class_name),
            optional("pid", obituary.pid), optional("started", started), cereal::make_nvp("ended", ended),
            optional("status", status), optional("signal", signal), optional("core_dumped", core_dumped),
            optional("unknown", obituary.why_unknown), optional("last_words", obituary.last_words),
            optional("next", obituary.next));
    if (obituary.pid && *obituary.pid <= 0) throw ProtocolError("an obituary has a wrong pid");
    if (started) obituary.started = checked_time(*started);
    obituary.ended = checked_time(ended);
    if (status) obituary.status = ExitStatus::exited(*status);
    if (signal) obituary.status = ExitStatus::signalled(*signal, core_dumped);
    if ((status && (*status < 0 || *status > kLargestStatus)) ||
        (signal && (*signal < 1 || *signal > kLargestSignal)))
      throw ProtocolError("an obituary has a wrong status or signal");
  }
};

std::string text_of(Obituary obituary) {
  JsonWriter writer;
  writer(Document{obituary});
  return writer.take();
}

bool is_of_same_process(const Obituary& one, const Obituary& other) {
  if (!one.pid || one.pid != other.pid) return false;
  if (!one.started || !other.started) return true;
  const auto apart = *one.started - *other.started;
  return apart < kSameStart && -apart < kSameStart;
}

/// Writes a file under a name of its own.
std::string write_pending(const os::Directory& directory, const Obituary& obituary) {
  constexpr unsigned kOwnerOnly = 0600;
  std::string pending = os::pending_name();
  directory.write_in_place(pending, text_of(obituary), kOwnerOnly);
  return pending;
}

/// Gives the file its name unless the name is taken. Returns false if it is.
bool put(const os::Directory& directory, const std::string& pending, const std::string& file) {
  try {
    directory.rename_to_new(pending, file);
    return true;
  } catch (const SystemError& error) {
    if (error.code() != EEXIST) throw;
    return false;
  }
}

/// Gives the file its name, and leaves what had that name under the name of the file. Returns false if nothing had it.
bool put_or_exchange(const os::Directory& directory, const std::string& pending, const std::string& file) {
  constexpr int kTries = 100;  // it may appear and vanish in between
  for (int tried = 0; tried < kTries; ++tried) {
    if (put(directory, pending, file)) return false;
    try {
      directory.exchange(pending, file);
      return true;
    } catch (const SystemError& error) {
      if (error.code() != ENOENT && error.code() != EINVAL) throw;
      if (error.code() == ENOENT) continue;
      directory.rename(pending, file);  // the file system has no exchange: the last of several writers wins
      return false;
    }
  }
  throw BusError("the obituary file '" + file + "' appears and vanishes again and again");
}

/// Returns what both tell: of one process, all that is known; of two, the later one, which is `one` in case of doubt.
Obituary joined(const Obituary& one, const Obituary& other) {
  if (!is_of_same_process(one, other)) return other.started && *other.started > one.ended ? other : one;
  const bool other_knows_more = !one.status && other.status;
  Obituary all = other_knows_more ? other : one;
  const Obituary& rest = other_knows_more ? one : other;
  if (!all.started) all.started = rest.started;
  if (all.class_name.empty()) all.class_name = rest.class_name;
  if (all.last_words.empty()) all.last_words = rest.last_words;
  if (all.next.empty()) all.next = rest.next;
  return all;
}

/// Adds what an obituary tells to what the bus knows. Processes that write at the same time need no lock: each writer looks at
/// the file that it has replaced, and writes again if that one knew more. So whatever one of them knows is in the last file.
void add(const os::Directory& directory, const std::string& file, Obituary obituary) {
  for (;;) {  // each turn knows more than the last
    const std::string pending = write_pending(directory, obituary);
    try {
      if (!put_or_exchange(directory, pending, file)) return;
    } catch (...) {
      directory.remove_file(pending);
      throw;
    }
    const auto replaced = read_obituary(directory, pending);
    directory.remove_file(pending);
    if (!replaced) return;  // it was none
    Obituary all = joined(obituary, *replaced);
    if (text_of(all) == text_of(obituary)) return;
    obituary = std::move(all);
  }
}

/// Removes the oldest obituaries beyond the limit.
void keep_few(const os::Directory& directory) {
  std::vector<std::string> files = directory.names();
  std::erase_if(files, [](const std::string& file) {
    return !file.starts_with('.') || !file.ends_with(kObituarySuffix);
  });
  if (files.size() <= kMostObituaries) return;
  std::vector<std::pair<double, std::string>> by_time;
  by_time.reserve(files.size());
  for (std::string& file : files) {
    const double modified = directory.look(file).modified;
    by_time.emplace_back(modified, std::move(file));
  }
  std::sort(by_time.begin(), by_time.end());
  for (std::size_t i = 0; i + kMostObituaries < by_time.size(); ++i) directory.remove_file(by_time[i].second);
}

/// Returns the end of the log of a service, as it is now.
std::string end_of_log(const BusInfo& info, const std::string& name) {
  std::string text;
  try {
    os::LogReader log(service_log_path(info, name));
    text = log.read_end(kLongestLastWords);
  } catch (const Error&) {
    return {};
  }
  while (text.ends_with('\n')) text.pop_back();
  text = wire::printable(text, kLongestLastWords, wire::Newlines::kept);
  if (text.size() < kLongestLastWords) return text;
  text.erase(0, text.size() - kLongestLastWords);
  // Whole lines, or at least whole characters.
  constexpr unsigned kContinues = 0x80, kMask = 0xC0;
  if (const auto line = text.find('\n'); line != std::string::npos && line + 1 < text.size())
    text.erase(0, line + 1);
  else
    while (!text.empty() && (static_cast<unsigned char>(text.front()) & kMask) == kContinues)
      text.erase(0, 1);
  return text;
}

/// Returns whether another process has the name by now: it is on the bus, so the obituary of its predecessor is over.
bool has_successor(const os::Directory& directory, const BusInfo& info, const Obituary& obituary) {
  for (const std::size_t longest : {transport::longest_socket_name(info.route), transport::kLongestName}) {
    const std::string disk_name = transport::DiskNames(longest).of(obituary.name);
    const auto lock = transport::look_at_lock(directory, transport::lock_file_of(disk_name));
    if (lock.held && !lock.for_clearing && lock.pid != obituary.pid.value_or(0)) return true;
  }
  return false;
}

/// Returns whether the obituaries of this user stand in that directory, and will stay.
bool may_write(const os::Directory& directory) {
  return directory.facts().owner == os::own_user() &&
         directory.look(transport::kClosedMarkFile).kind == os::FileKind::none;
}

}  // namespace

TimePoint time_of(double unix_seconds) {
  return TimePoint(
      std::chrono::duration_cast<TimePoint::duration>(std::chrono::duration<double>(unix_seconds)));
}

std::optional<Obituary> read_obituary(const os::Directory& directory, const std::string& file) {
  const auto text = directory.read_note(file, kLargestFile);
  if (!text) return std::nullopt;
  try {
    Obituary obituary;
    Document document{obituary};
    JsonReader reader(*text, "an obituary", JsonReader::UnknownKeys::ignored);
    reader(document);
    return obituary;
  } catch (const ProtocolError&) {
    return std::nullopt;
  }
}

bool write_obituary(const os::Directory& directory, const std::string& file, const Obituary& obituary) {
  const auto before = read_obituary(directory, file);
  const bool is_same = before && is_of_same_process(*before, obituary);
  if (is_same && (!obituary.status || before->status == obituary.status)) return true;
  if (before && before->started && *before->started > obituary.ended) return false;  // of a successor
  add(directory, file, before ? joined(obituary, *before) : obituary);
  if (!before) keep_few(directory);
  return true;
}

bool keep_obituary(const BusInfo& info, Obituary obituary) noexcept try {
  const os::Directory directory(service_log_directory(info));
  if (obituary.name.empty() || !may_write(directory) || has_successor(directory, info, obituary))
    return false;
  if (obituary.ended == TimePoint()) obituary.ended = std::chrono::system_clock::now();
  if (obituary.last_words.empty()) obituary.last_words = end_of_log(info, obituary.name);
  return write_obituary(directory, file_of_launcher(info, obituary.name, kObituarySuffix), obituary);
} catch (const std::exception&) {
  return false;
}

void keep_next(const BusInfo& info, const std::string& name, Pid pid, const std::string& next) noexcept try {
  const os::Directory directory(service_log_directory(info));
  const std::string file = file_of_launcher(info, name, kObituarySuffix);
  auto obituary = read_obituary(directory, file);
  if (!obituary || obituary->pid != pid || !may_write(directory)) return;
  obituary->next = next;
  add(directory, file, *obituary);
} catch (const std::exception&) {
  return;
}

void keep_unwitnessed_death(const BusInfo& info, const std::string& name,
                            const transport::PeerFacts& facts) noexcept try {
  if (facts.class_name.empty()) return;
  const Pid pid = facts.elsewhere ? facts.noted : facts.pid;
  if (const auto there = obituary_of(info, name); there && there->pid == pid) return;
  Obituary obituary{.name = name,
                    .class_name = facts.class_name,
                    .why_unknown = "no process that could know its exit status saw it end"};
  if (pid > 0) obituary.pid = pid;
  if (!facts.elsewhere && facts.pid > 0 && facts.since > 0) {
    // Its parent may not have reaped it yet. A process that began after the service had joined is another one.
    constexpr double kTick = 0.02;
    const auto process = os::open_process(facts.pid);
    const auto began = process && os::has_ended(process->get()) ? os::start_time(facts.pid) : std::nullopt;
    if (began && *began <= facts.since + kTick) {
      obituary.status = os::peek_exit_status(process->get());
      obituary.started = time_of(*began);
    }
    if (obituary.status) obituary.why_unknown.clear();
  }
  (void)keep_obituary(info, std::move(obituary));
} catch (const std::exception&) {
  return;
}

std::optional<ExitStatus> status_in_obituary(const BusInfo& info, const std::string& name, Pid pid) noexcept
    try {
  const auto obituary = obituary_of(info, name);
  if (!obituary || obituary->pid != pid) return std::nullopt;
  return obituary->status;
} catch (const std::exception&) {
  return std::nullopt;
}

std::string next_in_obituary(const BusInfo& info, const std::string& name, Pid pid) noexcept try {
  const auto obituary = obituary_of(info, name);
  return obituary && obituary->pid == pid ? wire::printable(obituary->next, kLongestNext) : std::string();
} catch (const std::exception&) {
  return {};
}

}  // namespace ipcm::bus
