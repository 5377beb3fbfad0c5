#pragma once

// If SOCI was built with Boost, its headers include Boost for templates that are not used here; no linked
// code depends on that.
#include <soci/soci-config.h>
#undef SOCI_HAVE_BOOST
#undef SOCI_HAVE_BOOST_DATE_TIME
#include <soci/soci.h>

#include <functional>
#include <string>

#include "transport/database/driver.h"

namespace ipcm::drivers {

using database::Blob;
using database::Column;
using database::Failure;
using database::Result;
using database::Value;
using database::Values;

/// A session that runs statements through SOCI.
class SociSession : public database::Session {
 public:
  SociSession(const soci::backend_factory& backend, const std::string& parameters)
      : soci_(backend, parameters) {}
  Result run(const std::string& statement, const Values& given,
             const std::vector<Column>& columns) noexcept final;
  Failure begin() noexcept override;
  Failure commit() noexcept override;
  void rollback() noexcept override;
  [[nodiscard]] int socket() const noexcept override { return -1; }
  std::vector<std::string> take_notifications(Failure&) noexcept override { return {}; }

 protected:
  /// Returns the kind of failure that an exception of SOCI means.
  [[nodiscard]] virtual Failure::Kind kind_of(const soci::soci_error& error) const noexcept = 0;
  /// Returns bytes in the text form of the database; unchanged by default.
  [[nodiscard]] virtual std::string write_blob(const std::string& bytes) const { return bytes; }
  [[nodiscard]] virtual std::string read_blob(std::string text) const { return text; }
  /// Whether SOCI's own blobs are columns of bytes. (On servers they are separate objects.)
  [[nodiscard]] virtual bool has_plain_blobs() const { return false; }
  [[nodiscard]] Failure attempt(const std::function<void()>& what) noexcept;

  soci::session soci_;
};

/// Returns the message of an error, without the statement and the values that SOCI adds to what().
[[nodiscard]] std::string words_of(const soci::soci_error& error);
/// Converts the exception that is being handled, thrown while a session was opened, to a failure; removes the
/// password.
[[nodiscard]] Failure failure_to_open(const std::string& secret = {});
/// Returns `key='value' …`, the form that libpq and SOCI read.
[[nodiscard]] std::string quoted_parameters(const std::map<std::string, std::string>& parameters);

}  // namespace ipcm::drivers
