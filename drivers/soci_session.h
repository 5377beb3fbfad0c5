#pragma once

// Where SOCI was built with Boost, its headers want Boost's, for templates that are not used here; nothing
// that is linked depends on that.
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

/// What all drivers share: running statements through SOCI.
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
  /// What an exception of SOCI means here.
  [[nodiscard]] virtual Failure::Kind kind_of(const soci::soci_error& error) const noexcept = 0;
  /// How bytes travel as text, where they do; by default as they are.
  [[nodiscard]] virtual std::string write_blob(const std::string& bytes) const { return bytes; }
  [[nodiscard]] virtual std::string read_blob(std::string text) const { return text; }
  /// Whether SOCI's own blobs are columns of bytes. (For servers they are objects elsewhere.)
  [[nodiscard]] virtual bool has_plain_blobs() const { return false; }
  [[nodiscard]] Failure attempt(const std::function<void()>& what) noexcept;

  soci::session soci_;
};

/// The words of an error, without the statement and the values that SOCI adds to what().
[[nodiscard]] std::string words_of(const soci::soci_error& error);
/// What the exception in hand, thrown when a session was to be opened, means; without the password.
[[nodiscard]] Failure failure_to_open(const std::string& secret = {});
/// `key='value' …`, as libpq and SOCI read it.
[[nodiscard]] std::string quoted_parameters(const std::map<std::string, std::string>& parameters);

}  // namespace ipcm::drivers
