#include <sys/epoll.h>

#include <filesystem>
#include <optional>
#include <utility>

#include "ipcm/error.h"
#include "os/events.h"
#include "os/file_lock.h"
#include "os/pipe.h"
#include "transport/database/database_transport.h"
#include "transport/database/protocols.h"
#include "transport/database/statement_timeout.h"
#include "transport/file/sidecar.h"
#include "transport/presence/own_place.h"

namespace ipcm::database {
namespace {

using transport::HeldLock;
using transport::Sidecar;

// The tables are exactly those of the reference. The index is ours; a peer that does not ask for it does
// not see it.
constexpr const char* kPeers = R"(CREATE TABLE IF NOT EXISTS ipcm_peers(
  id VARCHAR(512) NOT NULL PRIMARY KEY,
  pid INTEGER DEFAULT NULL,
  active REAL DEFAULT (strftime('%s', 'now')),
  stats BLOB DEFAULT NULL,
  suspend_expires REAL DEFAULT NULL))";
constexpr const char* kMessages = R"(CREATE TABLE IF NOT EXISTS ipcm_messages(
  id UUID NOT NULL PRIMARY KEY,
  "to" VARCHAR(512) NOT NULL REFERENCES ipcm_peers(id) ON DELETE CASCADE,
  "from" VARCHAR(512) NOT NULL REFERENCES ipcm_peers(id) ON DELETE CASCADE,
  stamp REAL NOT NULL,
  content BLOB NOT NULL,
  broadcast BOOL NOT NULL DEFAULT 0))";
constexpr const char* kIndex = R"(CREATE INDEX IF NOT EXISTS ipcm_messages_to ON ipcm_messages("to", stamp))";

constexpr Dialect kSqliteDialect = {
    .id_as_text = "CAST(id AS TEXT)",
    .broadcast_as_int = "broadcast + 0",
    .content_of_odd_id = "(typeof(id) = 'blob')",
    .id_parameter = ":id",
    .content_parameter = ":content",
    .broadcast_parameter = ":broadcast",
    .stamp_parameter = ":stamp",
    .stats_parameter = ":stats",
    .id_is_uuid = false,
    .attempts = 1,
};

/// The file in the sidecar of a database that the user named: `made`, if the bus made its tables.
constexpr const char* kGivenFile = ".given";

OwnedSession open_session(const std::string& route) {
  // A bus does not outlive a reboot of its machine, so no write has to wait for the disk: a killed process
  // does not harm the file, only a power failure could.
  Failure failure;
  OwnedSession session(load_driver("sqlite"), {{"file", route}, {"synchronous", "OFF"}},
                       os::limited(kPatient), failure);
  if (!session) throw StoreError(failure.kind, "the bus at " + route + " can't be opened: " + failure.text);
  return session;
}

/// Opens an existing database with the two tables of a bus. Makes and changes nothing in or beside other
/// files. Throws BusError.
OwnedSession open_bus(const std::string& route) {
  const auto refuse = [&](const std::string& why) {
    throw BusError("there is no bus at '" + route + "': " + why);
  };
  const os::FileFacts facts = os::look_at(route);
  if (facts.kind == os::FileKind::none) refuse("there is no such file");
  if (facts.kind != os::FileKind::regular) refuse("it is no file");
  if (facts.size == 0) refuse("the file is empty");
  OwnedSession session = open_session(route);
  for (const char* look :
       {"SELECT id, pid, active, stats, suspend_expires FROM ipcm_peers WHERE 1 = 0",
        R"(SELECT id, "to", "from", stamp, content, broadcast FROM ipcm_messages WHERE 1 = 0)"}) {
    const Failure failure = session->run(look, {}, {}).failure;
    if (failure.kind == Failure::Kind::missing)
      refuse("the file has no tables of one (" + failure.text + ")");
    if (failure) throw StoreError(failure.kind, "the bus at " + route + ": " + failure.text);
  }
  return session;
}

class SqliteStore final : public Store {
 public:
  explicit SqliteStore(const std::string& route)
      : Store([route] { return open_bus(route); }),
        route_(route),
        sidecar_(route_),
        file_(os::look_at(route_)) {}
  [[nodiscard]] const Dialect& dialect() const override { return kSqliteDialect; }
  [[nodiscard]] std::string where() const override { return route_; }

  [[nodiscard]] std::vector<PeerRow> rows(const std::string* id, bool judged) override {
    const std::string all = "SELECT id, pid, active, suspend_expires, stats FROM ipcm_peers";
    std::vector<PeerRow> rows;
    for (Values& values :
         query(id == nullptr ? all : all + " WHERE id = :id", id == nullptr ? Values{} : Values{*id},
               {Column::text, Column::integer, Column::real, Column::real, Column::blob})) {
      PeerRow row;
      row.id = row.name = text_of(values[0]);
      row.pid = pid_of(values[1]);
      row.is_active = real_of(values[2]).has_value();
      row.active = real_of(values[2]).value_or(0);
      row.expires = real_of(values[3]);
      if (!std::holds_alternative<std::monostate>(values[4])) row.stats = text_of(values[4]);
      if (judged && (row.pid > 0 || row.is_active)) {
        row.facts =
            sidecar_.judge(row.name, row.pid > 0 ? std::optional<Pid>(row.pid) : std::nullopt, row.expires);
        row.dies_unseen =
            row.facts.state == transport::PeerFacts::State::active && !sidecar_.holds_lock(row.name);
        // It has no lock, or its leftovers were removed since its row was read: a killed process loses its
        // lock first, and may still be ending when its row is gone. The lock goes last, so the row decides
        // now.
        if (row.dies_unseen && !still_stands(row)) {
          for (PeerRow& now : this->rows(&row.id, true)) rows.push_back(std::move(now));
          continue;
        }
      }
      rows.push_back(std::move(row));
    }
    return rows;
  }

  [[nodiscard]] bool take_name(const PeerRow& who, const transport::PeerNote& note,
                               HeldLock::Attempt& attempt) override {
    auto lock = sidecar_.take(who.name, note, attempt);
    if (!lock) return false;
    lock_ = std::move(*lock);
    return true;
  }
  [[nodiscard]] bool holds_name() const override { return static_cast<bool>(lock_); }
  void drop_name() noexcept override {
    if (lock_) sidecar_.release(lock_);
  }
  void while_nobody_has(const PeerRow& who, const std::function<bool()>& what) override {
    HeldLock::Attempt attempt;
    auto lock = sidecar_.take(who.name, HeldLock::kClearing, attempt);
    if (!lock) return;
    bool cleared = false;
    try {
      cleared = (who.pid == 0 || Sidecar::is_leftover(who.pid, attempt)) && what();
    } catch (...) {
      if (attempt.left) lock->put_back(attempt.left_by);
      sidecar_.release(*lock);
      throw;
    }
    // Its leftovers are the only trace of its death.
    if (!cleared && attempt.left) lock->put_back(attempt.left_by);
    sidecar_.release(*lock);
  }

  void watch(Loop& loop, const std::string& /*id*/, std::function<void()> news) override {
    // A writer changes the file before it releases its lock. A reader that comes too early finds it locked,
    // and looks again a moment later.
    if (watching_) return;
    changes_ = std::make_unique<os::FileWatch>(route_, os::FileWatch::Of::writing);
    watching_ = loop.watch(changes_->fd(), EPOLLIN, [this, tell = std::move(news)](std::uint32_t) {
      if (changes_->read()) tell();
    });
  }
  void watch_peers(Loop& loop, std::function<void()> news) override { watch(loop, "", std::move(news)); }
  void watch_deaths(Loop& loop, std::function<void()> news) override {
    deaths_ = std::make_unique<os::DirectoryWatch>(sidecar_.directory().short_path("."));
    watching_deaths_ = loop.watch(deaths_->fd(), EPOLLIN, [this, tell = std::move(news)](std::uint32_t) {
      bool changed = false;
      deaths_->read([&](std::string_view file) { changed = changed || Sidecar::is_news(file); });
      if (changed) tell();
    });
  }

  [[nodiscard]] os::UniqueFd process_of(const PeerRow& row) override { return sidecar_.process_of(row.name); }

  [[nodiscard]] bool is_there() override {
    // A process that has a removed file open can still write to it, but no peer would read that.
    const os::FileFacts now = os::look_at(route_);
    return now.kind == os::FileKind::regular && now.inode == file_.inode && now.device == file_.device;
  }
  void note_own_place(Loop& loop, const std::string& name, transport::OwnPlace::Lost lost) override {
    const std::filesystem::path path = route_;
    place_of_file_.emplace(path.parent_path().string());
    own_file_.emplace(loop, *place_of_file_, std::vector<std::string>{path.filename().string()}, lost);
    own_lock_.emplace(loop, sidecar_.directory(), std::vector<std::string>{sidecar_.lock_of(name)},
                      std::move(lost));
  }
  void look_at_own_place() override {
    if (own_file_) own_file_->look();
    if (own_lock_) own_lock_->look();
  }
  void watch_own_place() override {
    if (own_file_) own_file_->watch();
    if (own_lock_) own_lock_->watch();
  }
  [[nodiscard]] transport::OwnerFacts owner() override { return Sidecar::owner(route_); }

 private:
  [[nodiscard]] bool still_stands(const PeerRow& row) {
    const auto now = this->rows(&row.id, false);
    return now.size() == 1 && now.front().pid == row.pid && now.front().active == row.active;
  }

  std::string route_;
  Sidecar sidecar_;
  os::FileFacts file_;
  HeldLock lock_;
  std::unique_ptr<os::FileWatch> changes_;
  Watch watching_;
  std::unique_ptr<os::DirectoryWatch> deaths_;
  Watch watching_deaths_;
  std::optional<os::Directory> place_of_file_;
  std::optional<transport::OwnPlace> own_file_, own_lock_;
};

class SqliteProtocol final : public transport::FileProtocol {
 public:
  [[nodiscard]] const char* name() const override { return "SQLite"; }
  [[nodiscard]] const char* summary() const override {
    return "a database file; keeps messages for absent members";
  }
  [[nodiscard]] const char* driver() const override { return "sqlite"; }
  [[nodiscard]] std::string why_not_viable() const noexcept override { return why_no_driver(driver()); }
  [[nodiscard]] bool keeps_messages() const override { return true; }
  [[nodiscard]] bool carries_fields() const override { return false; }
  [[nodiscard]] std::unique_ptr<transport::Transport> join(const transport::JoinRequest& request, Loop& loop,
                                                           transport::Receiver& receiver) const override {
    expect_bus(request.info.route);
    return within_limit([&] {
      return std::make_unique<DatabaseTransport>(request, loop, receiver,
                                                 std::make_unique<SqliteStore>(request.info.route));
    });
  }

 protected:
  [[nodiscard]] const char* suffix() const override { return ".sqlite"; }
  void prepare(const std::string& route) const override {
    const bool given = os::look_at(route).size > 0;
    const OwnedSession session = open_session(route);
    const auto check = [&](const Failure& failure) {
      if (failure) throw StoreError(failure.kind, "the bus at " + route + " can't be made: " + failure.text);
    };
    const Result tables =
        session->run("SELECT COUNT(*) FROM sqlite_master WHERE name IN ('ipcm_peers', 'ipcm_messages')", {},
                     {Column::integer});
    check(tables.failure);
    const bool were_there = integer_of(tables.rows.at(0).at(0)).value_or(0) > 0;
    if (were_there) expect_not_running(route);
    for (const char* statement : {kPeers, kMessages, kIndex}) check(session->run(statement, {}, {}).failure);
    const Sidecar sidecar(route);  // for the note about the bus
    if (given) sidecar.directory().write_file(kGivenFile, were_there ? "kept" : "made", 0600);
  }
  void remove_beside(const std::string& route) const noexcept override {
    for (const char* beside : {"-journal", "-wal", "-shm"}) (void)os::remove_file(route + beside);
  }

  [[nodiscard]] bool is_bus_without_mark(const std::string& route) const override {
    if (!is_database(route)) return false;
    const Result tables = open_session(route)->run(
        "SELECT COUNT(*) FROM sqlite_master WHERE name IN ('ipcm_peers', 'ipcm_messages')", {},
        {Column::integer});
    return !tables.failure && integer_of(tables.rows.at(0).at(0)) == 2;
  }
  /// Any database can be used: its contents stay.
  [[nodiscard]] std::string why_not_given(const std::string& route) const override {
    return is_database(route) ? std::string() : "it is no SQLite database";
  }
  void empty_route(const std::string& route, std::string_view found) const override {
    if (found == "empty") {
      remove_beside(route);
      if (const os::UniqueFd file = os::open_file(route, os::Access::write)) os::truncate(file.get());
      return;
    }
    const auto given = os::Directory(Sidecar::path_of(route)).read_note(kGivenFile);
    if (given != "made") return;
    const OwnedSession session = open_session(route);
    for (const char* statement : {"DROP TABLE IF EXISTS ipcm_messages", "DROP TABLE IF EXISTS ipcm_peers"})
      if (const Failure failure = session->run(statement, {}, {}).failure)
        throw StoreError(failure.kind, "its tables can't be removed: " + failure.text);
  }

 private:
  static void expect_not_running(const std::string& route) {
    const auto refuse = [&](const std::string& by) {
      throw BusError("there is a bus at '" + route + "' already: " + by +
                     "; join that one, or end it (ipcm bus rm) first");
    };
    if (const transport::OwnerFacts owner = Sidecar::owner(route); owner.held)
      refuse("its owner is process " + std::to_string(owner.pid));
    for (const PeerRow& row : SqliteStore(route).rows(nullptr, true))
      if (row.facts.state == transport::PeerFacts::State::active)
        refuse("the peer '" + row.name + "' is on it");
  }
  static bool is_database(const std::string& route) {
    constexpr std::string_view kMagic("SQLite format 3\0", 16);
    const os::UniqueFd file = os::open_file(route, os::Access::read);
    std::string head;
    return file && os::read_some(file.get(), head, kMagic.size(), "database") == os::ReadResult::some &&
           head == kMagic;
  }
};

}  // namespace

const transport::Protocol& sqlite_protocol() {
  static const SqliteProtocol protocol;
  return protocol;
}

}  // namespace ipcm::database
