// MariaDB and MySQL through the non-blocking calls of MariaDB's client library. Parameters: dbname, host,
// port, unix_socket, user, password, charset, sslca, sslcert, sslkey. Parameters that are not given come from
// the user's ~/.my.cnf, where the server's own clients look.

#include <fcntl.h>
#include <mysql.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>

// errmsg.h of MySQL and of MariaDB have different names for some of these.
#include <errmsg.h>

#include "server_session.h"

namespace ipcm::drivers {
namespace {

int to_poll(int wanted) {
  int events = 0;
  if ((wanted & MYSQL_WAIT_READ) != 0) events |= POLLIN;
  if ((wanted & MYSQL_WAIT_WRITE) != 0) events |= POLLOUT;
  if ((wanted & MYSQL_WAIT_EXCEPT) != 0) events |= POLLPRI;
  return events;
}

int from_poll(int events) {
  int happened = 0;
  if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) happened |= MYSQL_WAIT_READ;
  if ((events & (POLLOUT | POLLHUP | POLLERR)) != 0) happened |= MYSQL_WAIT_WRITE;
  if ((events & POLLPRI) != 0) happened |= MYSQL_WAIT_EXCEPT;
  return happened;
}

struct EndConnection {
  void operator()(MYSQL* connection) const {
    // Otherwise the closing message on a stuck connection would wait for the server.
    if (const auto fd = static_cast<int>(mysql_get_socket(connection)); fd >= 0)
      (void)::shutdown(fd, SHUT_RDWR);
    mysql_close(connection);
  }
};
using Connection = std::unique_ptr<MYSQL, EndConnection>;

/// Continues a call that the client library has begun; `more` is its ..._cont function. `wanted`: the events
/// that it waits for, 0 once it has finished. Returns false if the deadline came first.
template <class Continue>
bool finish(MYSQL* connection, int& wanted, Clock::time_point deadline, Continue&& more) {
  while (wanted != 0) {
    auto until = deadline;
    const bool has_own = (wanted & MYSQL_WAIT_TIMEOUT) != 0;
    if (has_own)
      until =
          std::min(until, Clock::now() + std::chrono::milliseconds(mysql_get_timeout_value_ms(connection)));
    const int events = wait_for_socket(static_cast<int>(mysql_get_socket(connection)),
                                       static_cast<short>(to_poll(wanted)), until);
    if (events == 0 && Clock::now() >= deadline) return false;
    wanted = more(events > 0 ? from_poll(events) : events < 0 ? MYSQL_WAIT_READ : MYSQL_WAIT_TIMEOUT);
  }
  return true;
}

class MariadbSession final : public ServerSession {
 public:
  explicit MariadbSession(Connection connection) : connection_(std::move(connection)) {
    (void)::fcntl(socket(), F_SETFD, FD_CLOEXEC);  // the client library does not set it
  }
  ~MariadbSession() override { free_rows(); }
  MariadbSession(const MariadbSession&) = delete;
  MariadbSession& operator=(const MariadbSession&) = delete;
  [[nodiscard]] int socket() const noexcept override {
    return static_cast<int>(mysql_get_socket(connection_.get()));
  }
  std::vector<std::string> take_notifications(Failure&) noexcept override { return {}; }

 private:
  enum class Stage { idle, asking, reading, answered };

  Failure send(const std::string& statement, const Values& given) override {
    text_.clear();
    replace_parameters(statement, text_, [&](std::size_t number) { put(given.at(number)); });
    failed_ = 0;
    stage_ = Stage::asking;
    wanted_ = mysql_real_query_start(&failed_, connection_.get(), text_.data(), text_.size());
    return {};
  }

  /// Appends a value in the form for a statement.
  void put(const Value& value) {
    if (std::holds_alternative<std::monostate>(value)) {
      text_.append("NULL");
    } else if (const auto* integer = std::get_if<std::int64_t>(&value)) {
      text_.append(text_of(*integer));
    } else if (const auto* real = std::get_if<double>(&value)) {
      text_.append(text_of(*real));
    } else {
      const auto* blob = std::get_if<Blob>(&value);
      const std::string& bytes = blob != nullptr ? blob->bytes : std::get<std::string>(value);
      const std::size_t at = text_.size();
      text_.resize(at + 2 * bytes.size() + 3);
      text_[at] = '\'';
      const auto length = mysql_real_escape_string(connection_.get(), text_.data() + at + 1, bytes.data(),
                                                   static_cast<unsigned long>(bytes.size()));
      text_.resize(at + 1 + length);
      text_.push_back('\'');
    }
  }

  Step await(Clock::time_point deadline) override {
    MYSQL* const connection = connection_.get();
    if (stage_ == Stage::asking) {
      if (!finish(connection, wanted_, deadline,
                  [&](int events) { return mysql_real_query_cont(&failed_, connection, events); }))
        return Step::late;
      stage_ = Stage::answered;
      if (failed_ == 0 && mysql_field_count(connection) > 0) {
        stage_ = Stage::reading;
        wanted_ = mysql_store_result_start(&rows_, connection);
      }
    }
    if (stage_ == Stage::reading) {
      if (!finish(connection, wanted_, deadline,
                  [&](int events) { return mysql_store_result_cont(&rows_, connection, events); }))
        return Step::late;
      stage_ = Stage::answered;
      if (rows_ == nullptr) failed_ = 1;
    }
    return Step::done;
  }

  Result take(const std::vector<Column>& columns) override {
    Result result;
    stage_ = Stage::idle;
    if (failed_ != 0) {
      result.failure = {kind_of(mysql_errno(connection_.get())), in_one_line(mysql_error(connection_.get()))};
    } else if (rows_ == nullptr) {
      result.affected = static_cast<std::int64_t>(mysql_affected_rows(connection_.get()));
    } else if (!columns.empty()) {
      const auto count = std::min<std::size_t>(columns.size(), mysql_num_fields(rows_));
      while (const MYSQL_ROW row = mysql_fetch_row(rows_)) {
        const unsigned long* const lengths = mysql_fetch_lengths(rows_);
        Values& values = result.rows.emplace_back(columns.size());
        for (std::size_t i = 0; i < count; ++i)
          if (row[i] != nullptr) values[i] = value_of(std::string_view(row[i], lengths[i]), columns[i]);
      }
    }
    free_rows();
    return result;
  }

  void free_rows() noexcept {
    if (rows_ != nullptr) mysql_free_result(rows_);
    rows_ = nullptr;
  }

  [[nodiscard]] Failure::Kind kind_of(unsigned error) {
    constexpr unsigned kLockWait = 1205, kDeadlock = 1213, kDuplicate = 1062, kNoParent = 1452, kNull = 1048,
                       kNoTable = 1146, kNoColumn = 1054, kTooLong = 1406, kKilled = 1927, kShutdown = 1053,
                       kStopped = 1317;
    switch (error) {
      case kLockWait:
        return Failure::Kind::busy;
      case kDeadlock:
        return Failure::Kind::aborted;
      case kDuplicate:
      case kNoParent:
      case kNull:
        return Failure::Kind::conflict;
      case kNoTable:
      case kNoColumn:
        return Failure::Kind::missing;
      case kTooLong:
        return Failure::Kind::too_long;
      case CR_CONNECTION_ERROR:
      case CR_CONN_HOST_ERROR:
      case CR_SERVER_GONE_ERROR:
      case CR_SERVER_LOST:
      case kKilled:
      case kShutdown:
      case kStopped:
        cut_ = true;
        return Failure::Kind::lost;
      default:
        return Failure::Kind::other;
    }
  }

  [[nodiscard]] bool is_cut() const override { return cut_; }
  void cut() noexcept override { cut_ = true; }

  Connection connection_;
  std::string text_;  // the statement: the client library reads this text until it is sent
  MYSQL_RES* rows_ = nullptr;
  Stage stage_ = Stage::idle;
  int wanted_ = 0, failed_ = 0;
  bool cut_ = false;
};

std::string trimmed(const std::string& text) {
  const auto from = text.find_first_not_of(" \t\r"), to = text.find_last_not_of(" \t\r");
  return from == std::string::npos ? std::string() : text.substr(from, to - from + 1);
}

/// Adds the client settings of ~/.my.cnf, under SOCI's names for them.
void add_from_configuration(std::map<std::string, std::string>& parameters) {
  const char* home = std::getenv("HOME");
  if (home == nullptr) return;
  const std::map<std::string, std::string> names = {{"user", "user"},
                                                    {"password", "password"},
                                                    {"host", "host"},
                                                    {"port", "port"},
                                                    {"socket", "unix_socket"}};
  const bool placed = parameters.contains("host") || parameters.contains("unix_socket");
  std::ifstream file(std::string(home) + "/.my.cnf");
  bool for_us = false;
  for (std::string line; std::getline(file, line);) {
    line = trimmed(line);
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    if (line.front() == '[') {
      for_us = line == "[client]" || line == "[client-mariadb]";
      continue;
    }
    const auto equals = line.find('=');
    if (!for_us || equals == std::string::npos) continue;
    const auto name = names.find(trimmed(line.substr(0, equals)));
    std::string value = trimmed(line.substr(equals + 1));
    if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') && value.back() == value.front())
      value = value.substr(1, value.size() - 2);
    if (name == names.end()) continue;
    const bool where = name->second != "user" && name->second != "password";
    if (!(where && placed)) parameters.emplace(name->second, value);
  }
}

class Opening {
 public:
  explicit Opening(const std::map<std::string, std::string>& given) : parameters_(given) {
    add_from_configuration(parameters_);
  }
  std::unique_ptr<database::Session> open(Clock::time_point deadline, Failure& failure) {
    Connection connection(mysql_init(nullptr));
    if (!connection) {
      failure = {Failure::Kind::other, "no memory for a connection"};
      return nullptr;
    }
    mysql_options(connection.get(), MYSQL_OPT_NONBLOCK, nullptr);
    if (const char* charset = text("charset"))
      mysql_options(connection.get(), MYSQL_SET_CHARSET_NAME, charset);
    if (text("sslca") != nullptr)
      mysql_ssl_set(connection.get(), text("sslkey"), text("sslcert"), text("sslca"), nullptr, nullptr);
    unsigned port = 0;
    if (const char* given = text("port")) {
      const std::string_view digits(given);
      std::from_chars(digits.data(), digits.data() + digits.size(), port);
    }
    MYSQL* done = nullptr;
    int wanted =
        mysql_real_connect_start(&done, connection.get(), text("host"), text("user"), text("password"),
                                 text("dbname"), port, text("unix_socket"), CLIENT_FOUND_ROWS);
    if (!finish(connection.get(), wanted, deadline,
                [&](int events) { return mysql_real_connect_cont(&done, connection.get(), events); })) {
      failure = {Failure::Kind::late, "the server has not answered in time"};
      return nullptr;
    }
    if (done != nullptr) return std::make_unique<MariadbSession>(std::move(connection));
    constexpr unsigned kNoDatabase = 1049;
    const bool missing = mysql_errno(connection.get()) == kNoDatabase;
    failure = {missing ? Failure::Kind::missing : Failure::Kind::lost,
               in_one_line(mysql_error(connection.get()), parameters_["password"])};
    return nullptr;
  }

 private:
  /// Returns null if it is not given: then the client library uses its default.
  [[nodiscard]] const char* text(const char* key) const {
    const auto found = parameters_.find(key);
    return found == parameters_.end() || found->second.empty() ? nullptr : found->second.c_str();
  }
  std::map<std::string, std::string> parameters_;
};

class MariadbDriver final : public database::Driver {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "mariadb"; }
  [[nodiscard]] std::unique_ptr<database::Session> open(const std::map<std::string, std::string>& given,
                                                        std::int64_t limit,
                                                        Failure& failure) const noexcept override {
    // At its first use, the client library ignores SIGPIPE for the whole process. Only the host may decide
    // that, so the action is restored.
    struct sigaction before {};
    (void)::sigaction(SIGPIPE, nullptr, &before);
    std::unique_ptr<database::Session> session;
    try {
      session = Opening(given).open(Clock::now() + std::chrono::milliseconds(limit), failure);
    } catch (const std::exception& error) {
      failure = {Failure::Kind::other, error.what()};
    }
    (void)::sigaction(SIGPIPE, &before, nullptr);
    return session;
  }
};

}  // namespace
}  // namespace ipcm::drivers

extern "C" [[gnu::visibility("default")]] const ipcm::database::Driver* ipcm_database_driver(int version) {
  static const ipcm::drivers::MariadbDriver driver;
  return version == ipcm::database::kDriverVersion ? &driver : nullptr;
}
