// PostgreSQL through SOCI, and libpq itself for notifications. Parameters: those of libpq's connection
// strings.

#include "soci_session.h"  // first of all of SOCI

#include <soci/postgresql/soci-postgresql.h>

namespace ipcm::drivers {
namespace {

class PostgresqlSession final : public SociSession {
 public:
  explicit PostgresqlSession(const std::string& parameters) : SociSession(soci::postgresql, parameters) {
    // Remarks such as "relation already exists" are nothing to print from inside a library.
    PQsetNoticeProcessor(
        connection(), [](void*, const char*) {}, nullptr);
  }
  [[nodiscard]] int socket() const noexcept override { return PQsocket(connection()); }
  std::vector<std::string> take_notifications(Failure& failure) noexcept override {
    std::vector<std::string> channels;
    if (PQconsumeInput(connection()) == 0 || PQstatus(connection()) != CONNECTION_OK)
      failure = {Failure::Kind::lost, "the server has hung up"};
    while (PGnotify* told = PQnotifies(connection())) {
      channels.emplace_back(told->relname);
      PQfreemem(told);
    }
    return channels;
  }

 private:
  [[nodiscard]] PGconn* connection() const {
    auto& session = const_cast<soci::session&>(soci_);
    return static_cast<soci::postgresql_session_backend*>(session.get_backend())->conn_;
  }
  [[nodiscard]] Failure::Kind kind_of(const soci::soci_error& error) const noexcept override {
    if (PQstatus(connection()) != CONNECTION_OK) return Failure::Kind::lost;
    const auto* ours = dynamic_cast<const soci::postgresql_soci_error*>(&error);
    const std::string state = ours != nullptr ? ours->sqlstate() : std::string();
    if (state == "40001" || state == "40P01" || state == "55P03") return Failure::Kind::busy;
    if (state.starts_with("23")) return Failure::Kind::conflict;
    if (state == "42P01" || state == "3F000") return Failure::Kind::missing;
    if (state.starts_with("08") || state.starts_with("57P")) return Failure::Kind::lost;
    return Failure::Kind::other;
  }

  // SOCI's blobs are large objects here. Columns of bytes travel as text: \x and hex digits.
  static constexpr const char* kDigits = "0123456789abcdef";
  [[nodiscard]] std::string write_blob(const std::string& bytes) const override {
    std::string text = "\\x";
    text.reserve(2 * bytes.size() + 2);
    for (const char c : bytes) {
      const auto byte = static_cast<unsigned char>(c);
      text.push_back(kDigits[byte >> 4U]);
      text.push_back(kDigits[byte & 15U]);
    }
    return text;
  }
  [[nodiscard]] std::string read_blob(std::string text) const override {
    if (!text.starts_with("\\x")) return text;
    const auto digit = [](char c) {
      return static_cast<unsigned>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    };
    std::string bytes;
    bytes.reserve(text.size() / 2);
    for (std::size_t i = 2; i + 1 < text.size(); i += 2)
      bytes.push_back(static_cast<char>((digit(text[i]) << 4U) | digit(text[i + 1])));
    return bytes;
  }
};

class PostgresqlDriver final : public database::Driver {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "postgresql"; }
  [[nodiscard]] std::unique_ptr<database::Session> open(const std::map<std::string, std::string>& parameters,
                                                        Failure& failure) const noexcept override {
    const auto password = parameters.find("password");
    const std::string secret = password == parameters.end() ? std::string() : password->second;
    try {
      return std::make_unique<PostgresqlSession>(quoted_parameters(parameters));
    } catch (const std::exception&) {
      failure = failure_to_open(secret);
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
