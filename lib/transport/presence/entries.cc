#include "transport/presence/entries.h"

#include <algorithm>
#include <array>

#include "ipcm/error.h"

namespace ipcm::transport {
namespace {

using os::FileKind;

struct Pattern {
  std::string_view prefix, suffix;
  EntryRole role;
};

/// N stands between prefix and suffix. The first matching line counts.
constexpr std::array<Pattern, 28> kPatterns{{
    // The bus itself: its mark (mark_file.h), its owner, and the temporary files of both.
    {".info", "", EntryRole::mark},
    {".info.closed", "", EntryRole::mark},
    {".found", "", EntryRole::mark},
    {"..info.pend", "", EntryRole::mark},
    {"..found.pend", "", EntryRole::mark},
    {".owner", "", EntryRole::mark},
    {".owner.", "*", EntryRole::mark},
    // A peer of ours: its lock, and the files of its launcher.
    {".", ".lock", EntryRole::hidden},
    {".", ".lock.*", EntryRole::hidden},
    {".", ".log", EntryRole::hidden},
    {".", ".log.1", EntryRole::hidden},
    {".", ".params", EntryRole::hidden},
    {".", ".obituary", EntryRole::hidden},
    {".", ".pend", EntryRole::hidden},
    // In a sidecar: its pins, the journal of a JSONFile, the note about a database that the user named.
    {".", ".pin", EntryRole::hidden},
    {".journal", "", EntryRole::hidden},
    {".given", "", EntryRole::hidden},
    // A peer, as in the reference, which first writes some files under a name with .pend.
    {"", ".pid", EntryRole::beside},
    {"", ".name", EntryRole::beside},
    {"", ".resume", EntryRole::beside},
    {"", ".stats", EntryRole::beside},
    {"", ".suspend", EntryRole::beside},
    {"", ".pid.pend", EntryRole::beside},
    {"", ".name.pend", EntryRole::beside},
    {"", ".suspend.pend", EntryRole::beside},
    {"", ".stats.pend", EntryRole::beside},
    {"", ".resume.pend", EntryRole::beside},
    {"_", "", EntryRole::closed},
}};

bool fits(std::string_view name, const Pattern& pattern) {
  if (pattern.role == EntryRole::closed) return name.size() > 1 && name.starts_with(pattern.prefix);
  if (pattern.suffix.empty()) return name == pattern.prefix;
  if (pattern.suffix == "*") return name.size() > pattern.prefix.size() && name.starts_with(pattern.prefix);
  if (!name.starts_with(pattern.prefix)) return false;
  std::string_view rest = name.substr(pattern.prefix.size());
  if (pattern.suffix.ends_with('*')) {
    const std::string_view middle = pattern.suffix.substr(0, pattern.suffix.size() - 1);
    const auto at = rest.rfind(middle);
    return at != std::string_view::npos && at > 0 && at + middle.size() < rest.size();
  }
  return rest.size() > pattern.suffix.size() && rest.ends_with(pattern.suffix);
}

const Pattern* pattern_of(std::string_view name) {
  const auto found = std::find_if(kPatterns.begin(), kPatterns.end(),
                                  [&](const Pattern& pattern) { return fits(name, pattern); });
  return found == kPatterns.end() ? nullptr : &*found;
}

bool is_message_file(const os::Directory& mailbox, const std::string& name) {
  if (!name.ends_with(".ready") && !name.ends_with(".pend")) return false;
  const os::FileFacts facts = mailbox.look(name);
  return facts.kind == FileKind::none || (facts.kind == FileKind::regular && mailbox.is_trusted(facts));
}

bool is_mailbox(const os::Directory& directory, const std::string& name) {
  const auto mailbox = os::Directory::below(directory, name);
  if (!mailbox) return false;
  const auto files = mailbox->names();
  return std::all_of(files.begin(), files.end(),
                     [&](const std::string& file) { return is_message_file(*mailbox, file); });
}

/// Removes a mailbox. One with unknown files in it stays, with those files.
bool remove_mailbox(const os::Directory& directory, const std::string& name) {
  if (const auto mailbox = os::Directory::below(directory, name))
    for (const std::string& file : mailbox->names())
      if (is_message_file(*mailbox, file)) mailbox->remove_file(file);
  return directory.remove_empty_directory(name);
}

enum class Kept { nothing, file, mailbox };

/// Returns which part of an entry may be removed, by its name, kind and owner.
Kept knows(const os::Directory& directory, const std::string& name, const os::FileFacts& facts,
           const EndpointKinds& endpoints) {
  if (!directory.is_trusted(facts)) return Kept::nothing;
  const Pattern* pattern = pattern_of(name);
  const bool may_be_endpoint = std::find(endpoints.begin(), endpoints.end(), facts.kind) != endpoints.end();
  // A process that is killed in join() leaves the endpoint that it has not given its name yet (os/directory.h).
  if (pattern != nullptr && pattern->role == EntryRole::hidden && pattern->suffix == ".pend" &&
      may_be_endpoint && facts.kind != FileKind::directory)
    return Kept::file;
  if (pattern != nullptr && pattern->role != EntryRole::closed)
    return facts.kind == FileKind::regular ? Kept::file : Kept::nothing;
  if (pattern == nullptr && name.starts_with('.')) return Kept::nothing;
  if (!may_be_endpoint) return Kept::nothing;
  if (facts.kind == FileKind::directory) return Kept::mailbox;
  if (pattern != nullptr) return Kept::nothing;  // only mailboxes are closed by another name
  return facts.kind != FileKind::regular || facts.size == 0 ? Kept::file : Kept::nothing;
}

}  // namespace

EntryRole role_of_entry(std::string_view name) {
  const Pattern* pattern = pattern_of(name);
  return pattern == nullptr ? EntryRole::endpoint : pattern->role;
}

bool is_known_entry(const os::Directory& directory, const std::string& name, const EndpointKinds& endpoints) {
  const os::FileFacts facts = directory.look(name);
  if (facts.kind == FileKind::none) return true;  // it was removed just now
  switch (knows(directory, name, facts, endpoints)) {
    case Kept::file:
      return true;
    case Kept::mailbox:
      return is_mailbox(directory, name);
    case Kept::nothing:
      break;
  }
  return false;
}

bool remove_known_entry(const os::Directory& directory, const std::string& name,
                        const EndpointKinds& endpoints) {
  const os::FileFacts facts = directory.look(name);
  if (facts.kind == FileKind::none) return true;
  switch (knows(directory, name, facts, endpoints)) {
    case Kept::file:
      return directory.remove_file(name);
    case Kept::mailbox:
      return remove_mailbox(directory, name);
    case Kept::nothing:
      break;
  }
  return false;
}

std::vector<std::string> remove_known_entries(const os::Directory& directory, const EndpointKinds& endpoints,
                                              std::vector<std::string> names) {
  std::vector<std::string> stays, marks;
  // Leaving peers may write a last file meanwhile: the last round is one that removes nothing.
  constexpr int kRounds = 100;
  bool removed = true;
  for (int round = 0; removed && round < kRounds; ++round) {
    removed = false;
    stays.clear();
    marks.clear();
    if (round > 0) names = directory.names();
    for (std::string& name : names) {
      if (role_of_entry(name) == EntryRole::mark)
        marks.push_back(std::move(name));
      else if (remove_known_entry(directory, name, endpoints))
        removed = true;
      else
        stays.push_back(std::move(name));
    }
  }
  for (std::string& mark : marks)
    if (!remove_known_entry(directory, mark, endpoints)) stays.push_back(std::move(mark));
  std::sort(stays.begin(), stays.end());
  return stays;
}

bool remove_emptied(const os::Directory& directory) {
  const os::FileFacts facts = directory.facts();
  if (facts.links == 0) return true;
  const std::string path = directory.real_path();
  const os::FileFacts there = os::look_at(path);
  return there.device == facts.device && there.inode == facts.inode && os::remove_empty_directory(path);
}

}  // namespace ipcm::transport
