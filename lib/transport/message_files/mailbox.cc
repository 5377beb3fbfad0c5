#include "transport/message_files/mailbox.h"

#include <algorithm>
#include <map>

#include "ipcm/error.h"
#include "wire/frame.h"

namespace ipcm::transport {
Mailbox::Mailbox(os::Directory directory, std::shared_ptr<const wire::Serializer> serializer,
                 std::string reader)
    : directory_(std::move(directory)), serializer_(std::move(serializer)), reader_(std::move(reader)) {}

std::vector<std::string> Mailbox::unknown_files() const {
  std::vector<std::string> files;
  for (std::string& name : directory_.names())
    if (name.ends_with(kReady) && !known_.contains(name)) files.push_back(std::move(name));
  // Identifiers usually begin with the time: the files are read in the order in which they are needed.
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::string> Mailbox::pending() const {
  std::vector<std::string> files = directory_.names();
  std::erase_if(files, [](const std::string& name) { return !name.ends_with(kPending); });
  return files;
}

std::optional<Message> Mailbox::read(const std::string& file, Receiver& receiver) {
  std::string why;
  try {
    const auto text = directory_.read_file(file, wire::kLargestFrame);
    if (!text) return std::nullopt;  // its sender has removed it
    return serializer_->read(*text, reader_);
  } catch (const SystemError& error) {
    if (os::is_shortage(error.code())) throw;  // try again later
    why = error.what();
  } catch (const ProtocolError& error) {
    why = error.what();
  }
  // A directory stays unless it is empty: its contents are unknown.
  directory_.remove_file(file);
  (void)directory_.remove_empty_directory(file);
  receiver.dropped("the file '" + file + "' in the mailbox of '" + reader_ + "' is no message and was " +
                   (directory_.look(file).kind == os::FileKind::none ? "removed: " : "passed over: ") + why);
  return std::nullopt;
}

void Mailbox::note(const std::string& file, Receiver& receiver) {
  auto message = read(file, receiver);
  if (!message) {
    if (directory_.look(file).kind != os::FileKind::none)
      known_[file].handed_out = true;  // it can't be removed
    return;
  }
  known_[file] = {message->id, message->from, {message->stamp, message->stamp_ord}, false};
  waiting_.insert({message->stamp, message->stamp_ord, file});
  const std::size_t size = message->content.size();
  if (loaded_bytes_ + size > kLargestBatch) return;
  loaded_bytes_ += size;
  loaded_.emplace(file, std::move(*message));
}

void Mailbox::forget(const std::string& file) {
  const auto known = known_.find(file);
  if (known == known_.end()) return;
  waiting_.erase({known->second.stamp.first, known->second.stamp.second, file});
  known_.erase(known);
}

bool Mailbox::take(Receiver& receiver) {
  const auto first = unknown_files();
  if (first.empty() && waiting_.empty()) return false;
  for (const std::string& file : first) note(file, receiver);
  std::map<std::string, Stamp> reached;  // by sender
  for (const Key& key : waiting_) {
    const std::string& from = known_.at(key.file).from;
    reached[from] = {key.stamp, key.ord};  // rising
  }
  if (!first.empty())
    for (const std::string& file : unknown_files()) note(file, receiver);

  std::size_t bytes = 0;
  bool cut = false;
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    const std::string file = next->file;
    Known& known = known_.at(file);
    const auto limit = reached.find(known.from);
    if (limit == reached.end() || limit->second < known.stamp) {
      ++next;  // the event of its arrival will come
      continue;
    }
    std::optional<Message> message;
    if (auto loaded = loaded_.extract(file)) {
      message = std::move(loaded.mapped());
    } else {
      if (bytes >= kLargestBatch) {
        cut = true;
        break;
      }
      message = read(file, receiver);
    }
    next = waiting_.erase(next);
    if (!message) {
      known_.erase(file);
      continue;
    }
    bytes += message->content.size();
    message->id = known.id;  // an id that we gave it stays the same
    known.handed_out = true;
    handed_out_.emplace(known.id, file);
    receiver.received(std::move(*message));
    if (bytes >= kLargestBatch) {
      cut = next != waiting_.end();
      break;
    }
  }
  loaded_.clear();
  loaded_bytes_ = 0;
  return cut;
}

bool Mailbox::remove(const std::string& id) {
  const auto found = handed_out_.find(id);
  if (found == handed_out_.end()) return false;
  directory_.remove_file(found->second);
  forget(found->second);
  handed_out_.erase(found);
  return true;
}

}  // namespace ipcm::transport
