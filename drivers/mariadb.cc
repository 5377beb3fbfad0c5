// MariaDB and MySQL through SOCI. Parameters: dbname, host, port, unix_socket, user, password,
// connect_timeout, read_timeout, write_timeout, charset, sslca, sslcert, sslkey. What is not among them comes
// from the user's
// ~/.my.cnf, where the server's own clients look.

#include <fcntl.h>

#include <csignal>
#include <cstdlib>
#include <fstream>

#include "soci_session.h"  // first of all of SOCI

#include <soci/mysql/soci-mysql.h>

namespace ipcm::drivers {
namespace {

class MariadbSession final : public SociSession {
 public:
  explicit MariadbSession(const std::string& parameters) : SociSession(soci::mysql, parameters) {
    (void)::fcntl(socket(), F_SETFD, FD_CLOEXEC);  // the client library does not see to it
  }
  [[nodiscard]] int socket() const noexcept override {
    return static_cast<int>(mysql_get_socket(connection()));
  }

 private:
  [[nodiscard]] MYSQL* connection() const {
    auto& session = const_cast<soci::session&>(soci_);
    return static_cast<soci::mysql_session_backend*>(session.get_backend())->conn_;
  }
  [[nodiscard]] Failure::Kind kind_of(const soci::soci_error& error) const noexcept override {
    constexpr unsigned kLockWait = 1205, kDeadlock = 1213, kDuplicate = 1062, kNoParent = 1452, kNull = 1048,
                       kNoTable = 1146, kKilled = 1927, kShutdown = 1053;
    const auto* ours = dynamic_cast<const soci::mysql_soci_error*>(&error);
    switch (ours != nullptr ? ours->err_num_ : 0) {
      case kLockWait:
      case kDeadlock:
        return Failure::Kind::busy;
      case kDuplicate:
      case kNoParent:
      case kNull:
        return Failure::Kind::conflict;
      case kNoTable:
        return Failure::Kind::missing;
      case CR_CONNECTION_ERROR:
      case CR_CONN_HOST_ERROR:
      case CR_SERVER_GONE_ERROR:
      case CR_SERVER_LOST:
      case kKilled:
      case kShutdown:
        return Failure::Kind::lost;
      default:
        return Failure::Kind::other;
    }
  }
};

std::string trimmed(const std::string& text) {
  const auto from = text.find_first_not_of(" \t\r"), to = text.find_last_not_of(" \t\r");
  return from == std::string::npos ? std::string() : text.substr(from, to - from + 1);
}

/// What ~/.my.cnf says for clients, under the names that SOCI has for it.
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

class MariadbDriver final : public database::Driver {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "mariadb"; }
  [[nodiscard]] std::unique_ptr<database::Session> open(const std::map<std::string, std::string>& given,
                                                        Failure& failure) const noexcept override {
    std::string secret;
    // The client library ignores SIGPIPE for the whole process when it is first used: that is its user's to
    // decide.
    struct sigaction before {};
    (void)::sigaction(SIGPIPE, nullptr, &before);
    std::unique_ptr<database::Session> session;
    try {
      std::map<std::string, std::string> parameters = given;
      add_from_configuration(parameters);
      if (const auto password = parameters.find("password"); password != parameters.end())
        secret = password->second;
      session = std::make_unique<MariadbSession>(quoted_parameters(parameters));
    } catch (const std::exception&) {
      failure = failure_to_open(secret);
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
