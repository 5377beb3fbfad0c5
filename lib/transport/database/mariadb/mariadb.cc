#include <algorithm>

#include "ipcm/error.h"
#include "os/clock.h"
#include "transport/database/protocols.h"
#include "transport/database/server_protocol.h"
#include "transport/database/statement_timeout.h"
#include "transport/presence/disk_name.h"

namespace ipcm::database {
namespace {

// The server cannot notify of a change, so readers must poll: every 5 ms while messages come, then at
// growing intervals up to 200 ms. No other protocol polls.

constexpr std::chrono::milliseconds kOften{5};

constexpr Dialect kMariadbDialect = {
    .id_as_text = "CAST(id AS CHAR)",
    .broadcast_as_int = "broadcast + 0",
    .content_of_odd_id = "0",
    .id_parameter = ":id",
    .content_parameter = "_binary :content",
    .broadcast_parameter = ":broadcast",
    .stamp_parameter = ":stamp",
    .stats_parameter = "_binary :stats",
    .id_is_uuid = true,
    .attempts = 5,
};

class MariadbStore final : public ServerStore {
 public:
  MariadbStore(Connect connect, const std::string& route) : ServerStore(std::move(connect), route) {
    set_up();
    if (database_.empty()) throw BusError("the route '" + route + "' names no database: add database=NAME");
  }
  void after_reopen() override {
    set_up();
    ServerStore::after_reopen();
  }
  /// A statement waits only a moment for a lock of another process, and is repeated as long as its caller
  /// has time.
  void set_up() {
    const StatementTimeout timeout(*this);
    for (const char* setting :
         {"SET SESSION sql_mode = 'ANSI_QUOTES,STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'",
          "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
          "SET SESSION innodb_lock_wait_timeout = 1", "SET SESSION lock_wait_timeout = 1",
          "SET SESSION wait_timeout = 31536000"})
      execute(setting);
    const auto facts = query("SELECT VERSION(), @@max_allowed_packet, DATABASE()", {},
                             {Column::text, Column::integer, Column::text});
    is_mysql_ = text_of(facts.at(0).at(0)).find("MariaDB") == std::string::npos;
    largest_packet_ =
        static_cast<std::size_t>(std::max<std::int64_t>(integer_of(facts[0][1]).value_or(0), 0));
    database_ = text_of(facts[0][2]);
  }
  [[nodiscard]] const Dialect& dialect() const override { return kMariadbDialect; }
  [[nodiscard]] std::string exceeded_limit(const std::string& content) const override {
    constexpr std::size_t kRest = 8192;  // for the rest of the statement
    const auto escaped = std::count_if(content.begin(), content.end(), [](char c) {
      return c == '"' || c == '\'' || c == '\\' || c == '\n' || c == '\r' || c == '\0' || c == 0x1a;
    });
    if (content.size() + static_cast<std::size_t>(escaped) + kRest <= largest_packet_) return {};
    return "the server takes (max_allowed_packet = " + std::to_string(largest_packet_) + ")";
  }

  void watch(Loop& loop, const std::string& /*id*/, std::function<void()> news) override {
    loop_ = &loop;
    news_ = std::move(news);
    arm();
  }
  void watch_peers(Loop& loop, std::function<void()> news) override { watch(loop, "", std::move(news)); }
  void watch_deaths(Loop& /*loop*/, std::function<void()> news) override { deaths_ = std::move(news); }
  void looked_at(const std::vector<PeerRow>& rows) override {
    elsewhere_ = std::any_of(rows.begin(), rows.end(), [](const PeerRow& row) {
      return row.facts.state == transport::PeerFacts::State::active && row.facts.pid == 0;
    });
  }
  void took_in(bool some) override {
    if (!some) return;
    pause_ = kOften;
    if (loop_ != nullptr) arm();
  }
  void sent() override {
    pause_ = kOften;
    if (loop_ != nullptr) arm();
  }

 private:
  void arm() {
    poll_ = loop_->at(os::Clock::now() + pause_, [this] {
      pause_ = std::min(pause_ + pause_ / 2, kPollTime);  // until a message comes
      arm();
      if (elsewhere_ && deaths_ && os::Clock::now() - last_deaths_ >= kPollTime) {
        last_deaths_ = os::Clock::now();
        deaths_();
      } else {
        news_();
      }
    });
  }

  [[nodiscard]] Value lock_key(const std::string& text) override {
    // The names of locks are common to the whole server.
    return "ipcm:" + transport::DiskNames(0).of(database_ + "/" + text);
  }
  [[nodiscard]] bool lock(const Value& key, std::chrono::seconds patience) override {
    // A connection that asks twice would get the lock twice; ours never asks twice.
    const auto got =
        query("SELECT GET_LOCK(:key, :patience)", {key, std::int64_t{patience.count()}}, {Column::integer});
    return integer_of(got.at(0).at(0)).value_or(0) == 1;
  }
  void unlock(const Value& key) override {
    (void)query("SELECT RELEASE_LOCK(:key)", {key}, {Column::integer});
  }
  [[nodiscard]] const char* held_expression() const override {
    return "CASE WHEN o.lock_key IS NULL THEN 0 WHEN IS_USED_LOCK(o.lock_key) IS NULL THEN 0 ELSE 1 END";
  }

  [[nodiscard]] std::string like_this() const {
    // Compare names byte by byte, with trailing blanks.
    return std::string(" ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE ") +
           (is_mysql_ ? "utf8mb4_0900_bin" : "utf8mb4_nopad_bin");
  }
  [[nodiscard]] std::vector<std::string> table_statements() override {
    return {
        R"(CREATE TABLE IF NOT EXISTS ipcm_peers(
          id VARCHAR(512) NOT NULL PRIMARY KEY,
          pid INTEGER DEFAULT NULL,
          active DOUBLE DEFAULT NULL,
          stats LONGBLOB DEFAULT NULL,
          suspend_expires DOUBLE DEFAULT NULL))" +
            like_this(),
        R"(CREATE TABLE IF NOT EXISTS ipcm_messages(
          id )" +
            std::string(is_mysql_ ? "CHAR(36)" : "UUID") +
            R"( NOT NULL PRIMARY KEY,
          "to" VARCHAR(512) NOT NULL,
          "from" VARCHAR(512) NOT NULL,
          stamp DOUBLE NOT NULL,
          content LONGBLOB NOT NULL,
          broadcast BOOL NOT NULL DEFAULT FALSE,
          KEY ipcm_messages_to ("to", stamp)))" +
            like_this(),
    };
  }
  [[nodiscard]] std::string ours_statement() override {
    return R"(CREATE TABLE IF NOT EXISTS ipcm_ours(
      id VARCHAR(512) NOT NULL PRIMARY KEY, name LONGTEXT, note TEXT, pid INTEGER, host TEXT, lock_key VARCHAR(64),
      inspect INTEGER))" +
           like_this();
  }

  bool is_mysql_ = false;
  std::size_t largest_packet_ = 0;
  std::string database_;
  Loop* loop_ = nullptr;
  std::function<void()> news_, deaths_;
  std::chrono::milliseconds pause_ = kOften;
  os::Clock::time_point last_deaths_{};
  bool elsewhere_ = false;
  Watch poll_;
};

class MariadbProtocol : public ServerProtocol {
 public:
  explicit MariadbProtocol(const char* name) : name_(name) {}
  [[nodiscard]] const char* name() const override { return name_; }
  [[nodiscard]] const char* summary() const override {
    return "tables on a MariaDB or MySQL server; across machines; readers poll";
  }
  [[nodiscard]] const char* driver() const override { return "mariadb"; }

 protected:
  [[nodiscard]] const RouteForm& form() const override {
    static const RouteForm names = {{"mariadb", "mysql"},
                                    {{"dbname", "dbname"},
                                     {"database", "dbname"},
                                     {"db", "dbname"},
                                     {"host", "host"},
                                     {"hostname", "host"},
                                     {"port", "port"},
                                     {"user", "user"},
                                     {"socket", "unix_socket"},
                                     {"unix_socket", "unix_socket"},
                                     {"mariadb_socket", "unix_socket"},
                                     {"mysql_socket", "unix_socket"},
                                     {"sslca", "sslca"},
                                     {"mariadb_ssl_ca_file", "sslca"},
                                     {"mysql_ssl_ca_file", "sslca"},
                                     {"connect_timeout", "connect_timeout"}},
                                    "dbname"};
    return names;
  }
  [[nodiscard]] std::unique_ptr<ServerStore> connect(const BusInfo& info) const override {
    return std::make_unique<MariadbStore>(
        [info, this] {
          return connect_to_server("mariadb", info, form(), {{"charset", "utf8mb4"}});
        },
        info.route);
  }

 private:
  const char* name_;
};

}  // namespace

const transport::Protocol& mariadb_protocol() {
  static const MariadbProtocol protocol("MariaDB");
  return protocol;
}

const transport::Protocol& mysql_protocol() {
  static const MariadbProtocol protocol("MySQL");
  return protocol;
}

}  // namespace ipcm::database
