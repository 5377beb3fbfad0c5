#include "transport/database/message_rows.h"

#include <algorithm>
#include <utility>

#include "os/clock.h"
#include "os/random.h"

namespace ipcm::database {
namespace {

/// The number of rows that one statement names.
constexpr std::size_t kIdsPerStatement = 200;

}  // namespace

bool insert_message(Store& store, const MessageRow& message, Store::LateResult late) {
  // One statement, so that the receiver cannot leave between the check and the insertion.
  const Dialect& sql = store.dialect();
  static thread_local std::string text;
  text.assign(R"(INSERT INTO ipcm_messages(id, "to", "from", stamp, content, broadcast) SELECT )")
      .append(sql.id_parameter)
      .append(", p.id, :from, ")
      .append(sql.stamp_parameter)
      .append(", ")
      .append(sql.content_parameter)
      .append(", ")
      .append(sql.broadcast_parameter)
      .append(
          " FROM ipcm_peers p WHERE p.id = :to AND p.active IS NOT NULL AND (p.suspend_expires IS NULL OR "
          "p.suspend_expires >= :now)");
  Values values;
  values.reserve(7);
  values.emplace_back(sql.id_is_uuid && !is_uuid(message.id) ? os::make_uuid() : message.id);
  values.emplace_back(store.id_of(message.from));
  values.emplace_back(message.stamp);
  values.emplace_back(Blob{message.payload});
  values.emplace_back(std::int64_t{message.broadcast ? 1 : 0});
  values.emplace_back(message.to);
  values.emplace_back(os::wall_clock_seconds());
  return store.execute(text, values, std::move(late)) > 0;
}

bool has_message(Store& store, const std::string& id) {
  if (store.dialect().id_is_uuid && !is_uuid(id)) return false;
  return !store
              .query(std::string("SELECT 1 FROM ipcm_messages WHERE id = ") + store.dialect().id_parameter,
                     {id}, {Column::integer})
              .empty();
}

void remove_messages(Store& store, const std::vector<std::string>& ids) {
  for (std::size_t at = 0; at < ids.size(); at += kIdsPerStatement) {
    Values some;
    for (std::size_t i = at; i < std::min(ids.size(), at + kIdsPerStatement); ++i) some.emplace_back(ids[i]);
    store.execute("DELETE FROM ipcm_messages WHERE id IN (" + placeholders(some.size()) + ")", some);
  }
}

bool is_uuid(const std::string& text) {
  constexpr std::string_view kForm = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
  if (text.size() != kForm.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (kForm[i] == '-' ? c != '-' : !digit) return false;
  }
  return true;
}

}  // namespace ipcm::database
