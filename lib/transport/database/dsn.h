#pragma once

#include <map>
#include <string>
#include <vector>

#include "ipcm/bus.h"

namespace ipcm::database {

using Parameters = std::map<std::string, std::string>;

/// What a route to a server may look like: the reference's DBI names (`dbi:Pg:dbname=x;host=/dir`), or
/// `key=value` pairs with blanks between them, values quoted as libpq does.
struct RouteForm {
  std::vector<std::string> dbi_names;        ///< lower case; what may stand after `dbi:`
  std::map<std::string, std::string> names;  ///< of keys, as they may be given and as the driver knows them
  std::string database;                      ///< the driver's key for the database
};

/// The driver's parameters. Throws BusError for what can't be read, for unknown keys, and for a password: a
/// route is seen by everybody who lists processes. The error does not repeat what may be one.
[[nodiscard]] Parameters read_route(const std::string& route, const RouteForm& form);
/// User and password: of the bus's credentials, else $IPCM_DB_USER and $IPCM_DB_PASSWORD; else neither is
/// set, and the client's own configuration tells.
void add_credentials(Parameters& parameters, const Credentials& credentials);

}  // namespace ipcm::database
