#pragma once

#include "transport/transport.h"

namespace ipcm::database {

/// A database file; woken by inotify.
[[nodiscard]] const transport::Protocol& sqlite_protocol();

/// Tables on a server; woken by its notifications.
[[nodiscard]] const transport::Protocol& postgresql_protocol();
/// Tables on a server; polls. One protocol under the names MariaDB and MySQL.
[[nodiscard]] const transport::Protocol& mariadb_protocol();
[[nodiscard]] const transport::Protocol& mysql_protocol();

}  // namespace ipcm::database
