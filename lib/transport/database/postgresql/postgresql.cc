#include <sys/epoll.h>

#include <charconv>
#include <set>

#include "ipcm/error.h"
#include "os/clock.h"
#include "transport/database/protocols.h"
#include "transport/database/server_protocol.h"
#include "transport/database/statement_timeout.h"
#include "transport/presence/disk_name.h"

namespace ipcm::database {
namespace {

// The server notifies readers: triggers on the two tables notify a channel for each receiver, and one for
// all peers, in the transaction that changes the tables; so peers of the reference wake us too.

constexpr Dialect kPostgresqlDialect = {
    .id_as_text = "CAST(id AS TEXT)",
    .broadcast_as_int = "CAST(broadcast AS INTEGER)",
    .content_of_odd_id = "0",
    .id_parameter = "CAST(:id AS UUID)",
    .content_parameter = "CAST(:content AS BYTEA)",
    .broadcast_parameter = "(CAST(:broadcast AS INTEGER) <> 0)",
    .stamp_parameter = "CAST(:stamp AS DOUBLE PRECISION)",
    .stats_parameter = ":stats",
    .id_is_uuid = true,
    .attempts = 5,
};

/// Returns the channel of a receiver: names can be longer than channels, and mean other peers in another
/// schema.
constexpr const char* kChannel =
    "'ipcm_' || substr(encode(sha256(convert_to(%SCHEMA% || '/' || %NAME%, 'UTF8')), 'hex'), 1, 40)";

std::string channel(const std::string& schema, const std::string& name) {
  std::string text = kChannel;
  const auto put = [&](const std::string& mark, const std::string& what) {
    text.replace(text.find(mark), mark.size(), what);
  };
  put("%SCHEMA%", schema);
  put("%NAME%", name);
  return text;
}

class PostgresqlStore final : public ServerStore {
 public:
  PostgresqlStore(Connect connect, const std::string& route) : ServerStore(std::move(connect), route) {}
  [[nodiscard]] const Dialect& dialect() const override { return kPostgresqlDialect; }

  void watch(Loop& loop, const std::string& id, std::function<void()> news) override {
    const auto name =
        query("SELECT " + channel("current_schema()", "CAST(:id AS TEXT)"), {id}, {Column::text});
    listen(loop, text_of(name.at(0).at(0)), std::move(news));
  }
  void watch_peers(Loop& loop, std::function<void()> news) override {
    const auto name = query("SELECT " + channel("current_schema()", "'_peers'"), {}, {Column::text});
    listen(loop, text_of(name.at(0).at(0)), std::move(news));
  }
  void watch_deaths(Loop& /*loop*/, std::function<void()> news) override { deaths_ = std::move(news); }
  void looked_at(const std::vector<PeerRow>& rows) override {
    // A peer that died on another machine shows only by its free lock.
    poll_deaths_ = false;
    for (const PeerRow& row : rows)
      if (row.facts.state == transport::PeerFacts::State::active && row.facts.pid == 0) poll_deaths_ = true;
    arm();
  }

 private:
  void listen(Loop& loop, const std::string& channel_name, std::function<void()> news) {
    loop_ = &loop;
    news_ = std::move(news);
    execute("LISTEN \"" + channel_name + "\"");
    channels_.insert(channel_name);
    watch_socket();
    arm();
  }
  void watch_socket() {
    if (!watching_) {
      // If the tables belong to another user, who did not allow triggers, the server does not notify.
      const auto told = query(
          "SELECT COUNT(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON "
          "n.oid = "
          "c.relnamespace WHERE n.nspname = current_schema() AND t.tgname IN ('ipcm_tell', "
          "'ipcm_tell_peers')",
          {}, {Column::integer});
      poll_all_ = integer_of(told.at(0).at(0)).value_or(0) < 2;
      watching_ = loop_->watch(session_->socket(), EPOLLIN, [this](std::uint32_t) { hear(true); });
    }
  }
  void before_reopen() override {
    watching_.stop();
    soon_.stop();
    ServerStore::before_reopen();
  }
  void after_reopen() override {
    ServerStore::after_reopen();
    for (const std::string& name : channels_) execute("LISTEN \"" + name + "\"");
    if (!channels_.empty()) watch_socket();
  }
  void hear(bool tell_loss) {
    Failure failure;
    const bool some = !session_->take_notifications(failure).empty();
    if (failure) watching_.want(0);  // it would stay readable for ever
    if (some || (failure && tell_loss)) news_();
  }
  /// Notifications that came with an answer are no longer in the socket.
  void after_statement() override {
    if (!watching_) return;
    Failure failure;
    if (!session_->take_notifications(failure).empty() || failure)
      soon_ = loop_->at(os::Clock::now(), [this] { news_(); });
  }
  void arm() {
    const bool often = poll_all_ || (poll_deaths_ && deaths_);
    if (loop_ == nullptr || (poll_ && (polls_often_ || !often))) return;
    polls_often_ = often;
    poll_ = loop_->at(os::Clock::now() + (often ? kPollTime : kBusTime), [this] {
      poll_ = Watch();
      arm();
      if (poll_deaths_ && deaths_)
        deaths_();
      else
        news_();
    });
  }

  [[nodiscard]] Value lock_key(const std::string& text) override {
    if (schema_.empty()) schema_ = text_of(query("SELECT current_schema()", {}, {Column::text}).at(0).at(0));
    constexpr std::size_t kFrom = 2, kDigits = 16;  // after h-
    constexpr int kHex = 16;
    const std::string digits = transport::DiskNames(0).of(schema_ + "/" + text).substr(kFrom, kDigits);
    std::uint64_t key = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), key, kHex);
    return static_cast<std::int64_t>(key);
  }
  [[nodiscard]] bool lock(const Value& key, std::chrono::seconds patience) override {
    const auto got =
        query("SELECT CAST(pg_try_advisory_lock(CAST(:key AS BIGINT)) AS INTEGER)", {key}, {Column::integer});
    if (integer_of(got.at(0).at(0)).value_or(0) != 0) return true;
    if (patience.count() == 0) return false;
    const StatementTimeout until(*this, patience);
    try {
      (void)query("SELECT 1 FROM (SELECT pg_advisory_lock(CAST(:key AS BIGINT))) AS waited", {key},
                  {Column::integer});
      return true;
    } catch (const StoreError& error) {
      if (error.kind() != Failure::Kind::busy && error.kind() != Failure::Kind::aborted) throw;
      return false;
    }
  }
  void unlock(const Value& key) override {
    (void)query("SELECT CAST(pg_advisory_unlock(CAST(:key AS BIGINT)) AS INTEGER)", {key}, {Column::integer});
  }
  [[nodiscard]] const char* held_prefix() const override {
    return "WITH held AS (SELECT ((CAST(classid AS BIGINT) << 32) | CAST(objid AS BIGINT)) AS lock_key FROM "
           "pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND database = (SELECT oid "
           "FROM "
           "pg_database WHERE datname = current_database())) ";
  }
  [[nodiscard]] const char* held_expression() const override {
    return "CASE WHEN EXISTS (SELECT 1 FROM held WHERE held.lock_key = o.lock_key) THEN 1 ELSE 0 END";
  }

  [[nodiscard]] std::vector<std::string> table_statements() override {
    return {
        R"(CREATE TABLE IF NOT EXISTS ipcm_peers(
          id VARCHAR(512) NOT NULL PRIMARY KEY,
          pid INTEGER DEFAULT NULL,
          active DOUBLE PRECISION DEFAULT EXTRACT(EPOCH FROM now()),
          stats BYTEA DEFAULT NULL,
          suspend_expires DOUBLE PRECISION DEFAULT NULL))",
        R"(CREATE TABLE IF NOT EXISTS ipcm_messages(
          id UUID NOT NULL PRIMARY KEY,
          "to" VARCHAR(512) NOT NULL,
          "from" VARCHAR(512) NOT NULL,
          stamp DOUBLE PRECISION NOT NULL,
          content BYTEA NOT NULL,
          broadcast BOOL NOT NULL DEFAULT FALSE))",
        R"(CREATE INDEX IF NOT EXISTS ipcm_messages_to ON ipcm_messages("to", stamp))",
    };
  }
  [[nodiscard]] std::string ours_statement() override {
    return R"(CREATE TABLE IF NOT EXISTS ipcm_ours(
      id VARCHAR(512) NOT NULL PRIMARY KEY, name TEXT, note TEXT, pid INTEGER, host TEXT, lock_key BIGINT,
      inspect INTEGER))";
  }
  void add_notices() override {
    execute(
        "CREATE OR REPLACE FUNCTION ipcm_tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM "
        "pg_notify(" +
        doubled(channel("TG_TABLE_SCHEMA", "NEW.\"to\"")) + ", ''''); RETURN NULL; END'");
    execute(
        "CREATE OR REPLACE FUNCTION ipcm_tell_peers() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM "
        "pg_notify(" +
        doubled(channel("TG_TABLE_SCHEMA", "'_peers'")) + ", ''''); RETURN NULL; END'");
    execute(
        "CREATE OR REPLACE TRIGGER ipcm_tell AFTER INSERT ON ipcm_messages FOR EACH ROW EXECUTE FUNCTION "
        "ipcm_tell()");
    execute(
        "CREATE OR REPLACE TRIGGER ipcm_tell_peers AFTER INSERT OR UPDATE OR DELETE ON ipcm_peers FOR EACH "
        "STATEMENT EXECUTE FUNCTION ipcm_tell_peers()");
  }
  void remove_notices() override {
    if (has_table("ipcm_messages")) {
      execute("DROP TRIGGER IF EXISTS ipcm_tell ON ipcm_messages");
      execute("DROP TRIGGER IF EXISTS ipcm_tell_peers ON ipcm_peers");
    }
    execute("DROP FUNCTION IF EXISTS ipcm_tell()");
    execute("DROP FUNCTION IF EXISTS ipcm_tell_peers()");
  }
  static std::string doubled(const std::string& text) {
    std::string twice;
    for (const char c : text) twice.append(c == '\'' ? 2 : 1, c);
    return twice;
  }

  std::string schema_;
  std::set<std::string> channels_;
  Loop* loop_ = nullptr;
  std::function<void()> news_, deaths_;
  bool poll_all_ = false, poll_deaths_ = false, polls_often_ = false;
  Watch watching_, soon_, poll_;
};

class PostgresqlProtocol final : public ServerProtocol {
 public:
  [[nodiscard]] const char* name() const override { return "PostgreSQL"; }
  [[nodiscard]] const char* summary() const override {
    return "tables on a PostgreSQL server; across machines";
  }
  [[nodiscard]] const char* driver() const override { return "postgresql"; }

 protected:
  [[nodiscard]] const RouteForm& form() const override {
    static const RouteForm names = {{"pg"},
                                    {{"dbname", "dbname"},
                                     {"database", "dbname"},
                                     {"db", "dbname"},
                                     {"host", "host"},
                                     {"hostaddr", "hostaddr"},
                                     {"port", "port"},
                                     {"user", "user"},
                                     {"service", "service"},
                                     {"options", "options"},
                                     {"passfile", "passfile"},
                                     {"sslmode", "sslmode"},
                                     {"sslcert", "sslcert"},
                                     {"sslkey", "sslkey"},
                                     {"sslrootcert", "sslrootcert"},
                                     {"connect_timeout", "connect_timeout"}},
                                    "dbname"};
    return names;
  }
  [[nodiscard]] std::unique_ptr<ServerStore> connect(const BusInfo& info) const override {
    // Parameters of the connection, so that they cost no statements. A statement waits only a moment for a
    // lock of another process, and is repeated as long as its caller has time.
    static const std::string settings =
        "-c client_min_messages=error -c bytea_output=hex -c statement_timeout=60s -c lock_timeout=200ms -c "
        "default_transaction_isolation=read\\ committed";
    return std::make_unique<PostgresqlStore>(
        [info, this] {
          return connect_to_server(
              "postgresql", info, form(),
              {{"client_encoding", "UTF8"}, {"fallback_application_name", "ipcm"}, {"options", settings}});
        },
        info.route);
  }
};

}  // namespace

const transport::Protocol& postgresql_protocol() {
  static const PostgresqlProtocol protocol;
  return protocol;
}

}  // namespace ipcm::database
