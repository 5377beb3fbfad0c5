#include "transport/database/inbox.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <variant>

#include "ipcm/error.h"
#include "os/clock.h"
#include "os/random.h"
#include "transport/database/message_rows.h"
#include "transport/presence/disk_name.h"
#include "wire/frame.h"

namespace ipcm::database {
namespace {

/// The rows that one query reads, and the total size of their contents.
constexpr std::int64_t kSmallContent = 64L * 1024;
constexpr std::size_t kFewRows = 32;
constexpr std::size_t kRowsAtOnce = 200, kBytesAtOnce = 8UL * 1024 * 1024;

std::string upper_case(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

/// Returns the bytes of a blob.
std::string_view bytes_of(const Value& value) {
  const auto* blob = std::get_if<Blob>(&value);
  return blob != nullptr ? std::string_view(blob->bytes) : std::string_view();
}

}  // namespace

bool Inbox::take_in(bool everything) {
  const Dialect& sql = store_.dialect();
  std::set<std::string> had = put_back_;
  had.insert(finished_.begin(), finished_.end());
  for (const auto& [id, stored] : delivered_) had.insert(stored);
  bool some = false;
  const bool was_receiving = receiving_;
  for (;;) {
    // The query includes small contents, unless that would read many again that were passed on already.
    const bool along = had.size() < kFewRows;
    const std::size_t limit = had.size() + kRowsAtOnce;
    const auto listed = store_.query(
        std::string("SELECT ") + sql.id_as_text + R"(, "from", stamp, )" +
            (along ? "CASE WHEN LENGTH(content) <= :small THEN content ELSE NULL END, " : "NULL, ") +
            sql.broadcast_as_int + ", LENGTH(content), " + sql.content_of_odd_id +
            R"( FROM ipcm_messages WHERE "to" = :to ORDER BY stamp LIMIT :most)",
        along ? Values{kSmallContent, id_, static_cast<std::int64_t>(limit)}
              : Values{id_, static_cast<std::int64_t>(limit)},
        {Column::text, Column::text, Column::real, Column::blob, Column::integer, Column::integer,
         Column::integer});
    // In order: a content that the query left out is read when its turn comes.
    Values wanted;
    std::vector<std::string> unwanted;
    std::size_t bytes = 0;
    bool more = listed.size() == limit, odd = false, fresh = false;
    for (const Values& row : listed) {
      if (integer_of(row[6]).value_or(0) != 0) {
        odd = true;
        continue;
      }
      std::string id = text_of(row[0]);
      if (had.contains(id)) continue;
      const auto size = static_cast<std::size_t>(std::max<std::int64_t>(integer_of(row[5]).value_or(0), 0));
      if (size > wire::kLargestFrame) {
        receiver_.dropped("a message of " + std::to_string(size) + " bytes was dropped: the limit is " +
                          std::to_string(wire::kLargestFrame));
        unwanted.push_back(std::move(id));
        continue;
      }
      if (fresh && bytes + size > kBytesAtOnce) {
        more = true;
        break;
      }
      bytes += size;
      had.insert(id);
      fresh = some = true;
      if (std::holds_alternative<std::monostate>(row[3])) {
        wanted.emplace_back(std::move(id));
        continue;
      }
      take_rows(std::exchange(wanted, {}));
      take_row(row);
    }
    take_rows(wanted);
    if (odd) {
      const auto removed = store_.execute(
          std::string(R"(DELETE FROM ipcm_messages WHERE "to" = :to AND )") + sql.content_of_odd_id + " = 1",
          {id_});
      receiver_.dropped(std::to_string(removed) + " messages whose ids are no text were dropped");
    }
    remove_messages(store_, unwanted);
    // The reader may have stopped receiving meanwhile.
    if (!everything || !more || (was_receiving && !receiving_)) {
      store_.took_in(some);
      return more;
    }
  }
}

void Inbox::take_rows(const Values& ids) {
  if (ids.empty()) return;
  const Dialect& sql = store_.dialect();
  const auto rows = store_.query(
      std::string("SELECT ") + sql.id_as_text + R"(, "from", stamp, content, )" + sql.broadcast_as_int +
          " FROM ipcm_messages WHERE id IN (" + placeholders(ids.size()) + ") ORDER BY stamp",
      ids, {Column::text, Column::text, Column::real, Column::blob, Column::integer});
  for (const Values& row : rows) take_row(row);
}

void Inbox::take_row(const Values& row) {
  const std::string stored = text_of(row[0]);
  Message message;
  message.id = upper_case(stored);
  message.to = request_.name;
  message.stamp = real_of(row[2]).value_or(os::wall_clock_seconds());
  message.broadcast = integer_of(row[4]).value_or(0) != 0;
  try {
    const std::string from = text_of(row[1]);
    if (from.empty() || from == "0") throw ProtocolError("it does not say who sent it");
    message.from = from;
    if (store_.id_of(from) != from || transport::DiskNames::is_hashed(from)) {
      // Its id in the table is a hash.
      if (const auto sender = store_.row(from)) message.from = sender->name;
    }
    message.content = request_.serializer->read_content(bytes_of(row[3]));
    if (message.content.is_null()) throw ProtocolError("its content is null");
  } catch (const StoreError&) {
    throw;
  } catch (const Error& error) {
    receiver_.dropped("the message " + stored + " was dropped: " + error.what());
    remove_messages(store_, {stored});
    return;
  }
  delivered_.emplace(message.id, stored);
  receiver_.received(std::move(message));
}

bool Inbox::note_finished(const std::vector<std::string>& ids) {
  for (const std::string& id : ids) {
    if (const auto void_one = forgone_.find(id); void_one != forgone_.end()) {
      if (--void_one->second == 0) forgone_.erase(void_one);
      continue;
    }
    if (auto done = delivered_.extract(id)) finished_.push_back(std::move(done.mapped()));
  }
  return !finished_.empty();
}

void Inbox::remove_finished() {
  remove_messages(store_, finished_);
  finished_.clear();
}

void Inbox::put_back(const std::vector<Message>& messages) {
  for (const Message& message : messages) {
    std::string id = message.id;
    if (const auto had = delivered_.find(id); had != delivered_.end()) {
      id = had->second;  // its row is still there
      delivered_.erase(had);
      ++forgone_[message.id];
    } else {
      if (store_.dialect().id_is_uuid && !is_uuid(id)) id = os::make_uuid();
      const std::string payload = request_.serializer->write_content(message.content);
      (void)insert_message(store_, {id, message.from, id_, message.stamp, message.broadcast, payload});
    }
    put_back_.insert(id);
  }
}

std::int64_t Inbox::empty() {
  // Messages that came during leaving are passed on with the rest; those that were put back are for a
  // successor.
  take_in(true);
  Values keep = {id_};
  for (const std::string& id : put_back_) keep.emplace_back(id);
  const auto deleted = store_.execute(
      R"(DELETE FROM ipcm_messages WHERE "to" = :id)" +
          (put_back_.empty() ? std::string() : " AND id NOT IN (" + placeholders(put_back_.size()) + ")"),
      keep);
  const auto unread = deleted - static_cast<std::int64_t>(delivered_.size());
  delivered_.clear();
  return unread;
}

}  // namespace ipcm::database
