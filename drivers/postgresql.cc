// PostgreSQL through libpq. Parameters: those of libpq's connection strings.

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <memory>

#include "server_session.h"

namespace ipcm::drivers {
namespace {

struct EndConnection {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
using Connection = std::unique_ptr<PGconn, EndConnection>;
struct ClearAnswer {
  void operator()(PGresult* answer) const { PQclear(answer); }
};
using Answer = std::unique_ptr<PGresult, ClearAnswer>;

/// Columns of bytes are sent as text: \x and hex digits.
std::string bytes_of(std::string_view text) {
  if (!text.starts_with("\\x")) return std::string(text);
  const auto digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10); };
  std::string bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 2; i + 1 < text.size(); i += 2)
    bytes.push_back(static_cast<char>((digit(text[i]) << 4U) | digit(text[i + 1])));
  return bytes;
}

class PostgresqlSession final : public ServerSession {
 public:
  explicit PostgresqlSession(Connection connection) : connection_(std::move(connection)) {
    // Discards notices such as "relation already exists": a library must not print them.
    PQsetNoticeProcessor(
        connection_.get(), [](void*, const char*) {}, nullptr);
    (void)PQsetnonblocking(connection_.get(), 1);
  }
  [[nodiscard]] int socket() const noexcept override { return PQsocket(connection_.get()); }
  std::vector<std::string> take_notifications(Failure& failure) noexcept override {
    std::vector<std::string> channels;
    if (cut_ || PQconsumeInput(connection_.get()) == 0 || is_cut())
      failure = {Failure::Kind::lost, "the server has hung up"};
    while (PGnotify* told = PQnotifies(connection_.get())) {
      channels.emplace_back(told->relname);
      PQfreemem(told);
    }
    return channels;
  }

 private:
  Failure send(const std::string& statement, const Values& given) override {
    std::string text;
    text.reserve(statement.size());
    replace_parameters(statement, text,
                       [&](std::size_t number) { text.append("$").append(std::to_string(number + 1)); });
    std::vector<std::string> texts(given.size());
    std::vector<const char*> values(given.size());
    std::vector<int> lengths(given.size()), formats(given.size());
    for (std::size_t i = 0; i < given.size(); ++i) {
      values[i] = texts[i].c_str();
      if (const auto* blob = std::get_if<Blob>(&given[i])) {
        values[i] = blob->bytes.data();
        lengths[i] = static_cast<int>(blob->bytes.size());
        formats[i] = 1;
      } else if (const auto* given_text = std::get_if<std::string>(&given[i])) {
        values[i] = given_text->c_str();
      } else if (const auto* integer = std::get_if<std::int64_t>(&given[i])) {
        values[i] = (texts[i] = text_of(*integer)).c_str();
      } else if (const auto* real = std::get_if<double>(&given[i])) {
        values[i] = (texts[i] = text_of(*real)).c_str();
      } else {
        values[i] = nullptr;
      }
    }
    const int sent = PQsendQueryParams(connection_.get(), text.c_str(), static_cast<int>(given.size()),
                                       nullptr, values.data(), lengths.data(), formats.data(), 0);
    return sent == 1 ? Failure{} : said();
  }

  Step await(Clock::time_point deadline) override {
    PGconn* const connection = connection_.get();
    for (;;) {
      const int unsent = PQflush(connection);
      while (unsent <= 0 && PQisBusy(connection) == 0) {
        Answer answer(PQgetResult(connection));
        if (!answer) return Step::done;
        // Of several answers to one statement, the first failed one counts.
        if (!answer_ || PQresultStatus(answer_.get()) != PGRES_FATAL_ERROR) answer_ = std::move(answer);
        if (is_cut()) return Step::done;
      }
      const int ready = wait_for_socket(
          PQsocket(connection), static_cast<short>(unsent == 1 ? POLLIN | POLLOUT : POLLIN), deadline);
      if (ready == 0) return Step::late;
      if (ready < 0 || (PQconsumeInput(connection) == 0 && is_cut())) return Step::done;
    }
  }

  Result take(const std::vector<Column>& columns) override {
    const Answer answer = std::move(answer_);
    Result result;
    const auto status = answer ? PQresultStatus(answer.get()) : PGRES_FATAL_ERROR;
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
      result.failure = said(answer.get());
      return result;
    }
    const std::string_view affected = PQcmdTuples(answer.get());
    result.affected = std::get<std::int64_t>(value_of(affected, Column::integer));
    if (columns.empty()) return result;
    const auto count = std::min(columns.size(), static_cast<std::size_t>(PQnfields(answer.get())));
    result.rows.resize(static_cast<std::size_t>(PQntuples(answer.get())), Values(columns.size()));
    for (std::size_t row = 0; row < result.rows.size(); ++row) {
      const int from = static_cast<int>(row);
      for (std::size_t i = 0; i < count; ++i) {
        const int column = static_cast<int>(i);
        if (PQgetisnull(answer.get(), from, column) != 0) continue;
        const std::string_view text(PQgetvalue(answer.get(), from, column),
                                    static_cast<std::size_t>(PQgetlength(answer.get(), from, column)));
        result.rows[row][i] =
            columns[i] == Column::blob ? Value(Blob{bytes_of(text)}) : value_of(text, columns[i]);
      }
    }
    return result;
  }

  /// Returns the error in the server's first line; the other lines may quote values.
  [[nodiscard]] Failure said(const PGresult* answer = nullptr) const {
    const char* primary = answer == nullptr ? nullptr : PQresultErrorField(answer, PG_DIAG_MESSAGE_PRIMARY);
    const char* state = answer == nullptr ? nullptr : PQresultErrorField(answer, PG_DIAG_SQLSTATE);
    const std::string words = in_one_line(primary != nullptr ? primary : PQerrorMessage(connection_.get()));
    return {kind_of(state == nullptr ? std::string_view() : std::string_view(state)), words};
  }
  [[nodiscard]] Failure::Kind kind_of(std::string_view state) const {
    if (is_cut()) return Failure::Kind::lost;
    // A transaction that could not be serialised, or a deadlock.
    if (state == "40001" || state == "40P01") return Failure::Kind::aborted;
    // A lock that was not free in time, or a statement that took too long.
    if (state == "55P03" || state == "57014") return Failure::Kind::busy;
    if (state.starts_with("23")) return Failure::Kind::conflict;
    if (state == "42P01" || state == "3F000" || state == "42703") return Failure::Kind::missing;
    if (state == "22001") return Failure::Kind::too_long;
    if (state.starts_with("08") || state.starts_with("57P")) return Failure::Kind::lost;
    return Failure::Kind::other;
  }
  [[nodiscard]] bool is_cut() const override { return cut_ || PQstatus(connection_.get()) != CONNECTION_OK; }
  void cut() noexcept override { cut_ = true; }

  Connection connection_;
  Answer answer_;
  bool cut_ = false;
};

Connection start(const std::map<std::string, std::string>& parameters) {
  std::vector<const char*> keys, values;
  for (const auto& [key, value] : parameters) {
    if (value.empty()) continue;  // libpq has its own defaults
    keys.push_back(key.c_str());
    values.push_back(value.c_str());
  }
  keys.push_back(nullptr);
  values.push_back(nullptr);
  return Connection(PQconnectStartParams(keys.data(), values.data(), 0));
}

Connection connect(const std::map<std::string, std::string>& parameters, Clock::time_point deadline,
                   Failure& failure) {
  Connection connection = start(parameters);
  if (!connection) {
    failure = {Failure::Kind::other, "no memory for a connection"};
    return nullptr;
  }
  auto wanted = PGRES_POLLING_WRITING;
  while (PQstatus(connection.get()) != CONNECTION_BAD && wanted != PGRES_POLLING_OK) {
    if (wanted == PGRES_POLLING_FAILED) break;
    const int ready = wait_for_socket(PQsocket(connection.get()),
                                      wanted == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline);
    if (ready == 0) {
      failure = {Failure::Kind::late, "the server has not answered in time"};
      return nullptr;
    }
    if (ready < 0) break;
    wanted = PQconnectPoll(connection.get());
  }
  if (PQstatus(connection.get()) == CONNECTION_OK) return connection;
  const auto password = parameters.find("password");
  failure = {Failure::Kind::lost,
             in_one_line(PQerrorMessage(connection.get()),
                         password == parameters.end() ? std::string() : password->second)};
  return nullptr;
}

/// The interval at which a backend that waits for a lock checks whether its client still exists; servers
/// before 14 do not have this setting.
constexpr const char* kClientCheck = "client_connection_check_interval";

class PostgresqlDriver final : public database::Driver {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "postgresql"; }
  [[nodiscard]] std::unique_ptr<database::Session> open(const std::map<std::string, std::string>& given,
                                                        std::int64_t limit,
                                                        Failure& failure) const noexcept override {
    try {
      const auto deadline = Clock::now() + std::chrono::milliseconds(limit);
      std::map<std::string, std::string> parameters = given;
      const std::string options = parameters["options"];
      parameters["options"] = options + " -c " + kClientCheck + "=1s";
      Connection connection = connect(parameters, deadline, failure);
      if (!connection && failure.text.find(kClientCheck) != std::string::npos) {
        failure = {};
        parameters["options"] = options;
        connection = connect(parameters, deadline, failure);
      }
      if (connection) return std::make_unique<PostgresqlSession>(std::move(connection));
    } catch (const std::exception& error) {
      failure = {Failure::Kind::other, error.what()};
    }
    return nullptr;
  }
};

}  // namespace
}  // namespace ipcm::drivers

extern "C" [[gnu::visibility("default")]] const ipcm::database::Driver* ipcm_database_driver(int version) {
  static const ipcm::drivers::PostgresqlDriver driver;
  return version == ipcm::database::kDriverVersion ? &driver : nullptr;
}
