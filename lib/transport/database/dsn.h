#pragma once

#include <map>
#include <string>
#include <vector>

#include "ipcm/bus_info.h"

namespace ipcm::database {

using Parameters = std::map<std::string, std::string>;

/// The form of a route to a server: the DBI names of the reference (`dbi:Pg:dbname=x;host=/dir`), or
/// `key=value` pairs separated by blanks, with values quoted as in libpq.
struct RouteForm {
  std::vector<std::string> dbi_names;        ///< lower case; the names allowed after `dbi:`
  std::map<std::string, std::string> names;  ///< the allowed keys, and the keys of the driver
  std::string database;                      ///< the driver's key for the database
};

/// Returns the parameters for the driver. Throws BusError for a malformed route, for unknown keys, and for
/// a password: every user that lists processes sees a route. The error does not repeat a possible password.
[[nodiscard]] Parameters read_route(const std::string& route, const RouteForm& form);
/// Adds user and password: from the credentials of the bus, else from $IPCM_DB_USER and $IPCM_DB_PASSWORD;
/// else neither is set, and the configuration of the client library decides.
void add_credentials(Parameters& parameters, const Credentials& credentials);

}  // namespace ipcm::database
