// SQLite through SOCI. Parameters: file (a path), synchronous.

#include <algorithm>

#include "soci_session.h"  // must be the first header of SOCI

#include <soci/sqlite3/soci-sqlite3.h>

namespace ipcm::drivers {
namespace {

class SqliteSession final : public SociSession {
 public:
  explicit SqliteSession(const std::string& parameters) : SociSession(soci::sqlite3, parameters) {}
  void be_patient(std::int64_t milliseconds, std::int64_t) noexcept override {
    sqlite_api::sqlite3_busy_timeout(backend().conn_,
                                     static_cast<int>(std::clamp<std::int64_t>(milliseconds, 0, 60'000)));
  }
  /// Acquires the writer's lock at the start: a reader that becomes a writer half-way could never wait for
  /// it.
  Failure begin() noexcept override { return run("BEGIN IMMEDIATE", {}, {}).failure; }

 private:
  soci::sqlite3_session_backend& backend() {
    return *static_cast<soci::sqlite3_session_backend*>(soci_.get_backend());
  }
  [[nodiscard]] bool has_plain_blobs() const override { return true; }
  [[nodiscard]] Failure::Kind kind_of(const soci::soci_error& error) const noexcept override {
    constexpr int kPrimary = 0xff;
    const auto* ours = dynamic_cast<const soci::sqlite3_soci_error*>(&error);
    switch (ours != nullptr ? ours->result() & kPrimary : SQLITE_ERROR) {
      case SQLITE_BUSY:
      case SQLITE_LOCKED:
        return Failure::Kind::busy;
      case SQLITE_CONSTRAINT:
        return Failure::Kind::conflict;
      case SQLITE_NOTADB:
        return Failure::Kind::missing;
      case SQLITE_CANTOPEN:
        return Failure::Kind::lost;
      case SQLITE_IOERR:  // also a full disk or a limit of file sizes: opening the file again would not help
      default:
        for (const char* words : {"no such table", "no such column", "has no column"})
          if (words_of(error).find(words) != std::string::npos) return Failure::Kind::missing;
        return Failure::Kind::other;
    }
  }
};

class SqliteDriver final : public database::Driver {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "sqlite"; }
  [[nodiscard]] std::unique_ptr<database::Session> open(const std::map<std::string, std::string>& parameters,
                                                        std::int64_t limit,
                                                        Failure& failure) const noexcept override {
    try {
      const std::string& file = parameters.at("file");
      // To SOCI, a text without an equals sign is a path; other texts are lists of keys.
      const bool plain = file.find('=') == std::string::npos;
      if (!plain && file.find('"') != std::string::npos) {
        failure = {Failure::Kind::other, "a path with both '=' and '\"' in it can't be given to SQLite"};
        return nullptr;
      }
      auto session = std::make_unique<SqliteSession>(plain ? file : "dbname=\"" + file + "\"");
      session->be_patient(limit, limit);
      if (const auto synchronous = parameters.find("synchronous"); synchronous != parameters.end()) {
        const Result set = session->run("PRAGMA synchronous = " + synchronous->second, {}, {});
        if (set.failure) {
          failure = set.failure;
          return nullptr;
        }
      }
      return session;
    } catch (const std::exception&) {
      failure = failure_to_open();
    }
    return nullptr;
  }
};

}  // namespace
}  // namespace ipcm::drivers

extern "C" [[gnu::visibility("default")]] const ipcm::database::Driver* ipcm_database_driver(int version) {
  static const ipcm::drivers::SqliteDriver driver;
  return version == ipcm::database::kDriverVersion ? &driver : nullptr;
}
