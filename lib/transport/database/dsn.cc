#include "transport/database/dsn.h"

#include <algorithm>

#include "ipcm/error.h"
#include "os/directory.h"
#include "wire/number.h"

namespace ipcm::database {
namespace {

std::string lower_case(std::string text) {
  for (char& c : text) c = wire::lower_case(c);
  return text;
}

std::string trimmed(const std::string& text) {
  const auto from = text.find_first_not_of(" \t\n"), to = text.find_last_not_of(" \t\n");
  return from == std::string::npos ? std::string() : text.substr(from, to - from + 1);
}

/// Does not repeat the route, of which any part may be a password. Repeats `key` only if it looks like a
/// key.
[[noreturn]] void refuse(const std::string& why, const std::string& key = {}) {
  constexpr std::size_t kLongestKey = 32;
  const bool looks_like_a_key =
      !key.empty() && key.size() <= kLongestKey &&
      key.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.-") == std::string::npos;
  throw BusError("the route can't be read: " + why + (looks_like_a_key ? " '" + key + "'" : "") +
                 "; it is dbi:NAME:key=value;… or key=value pairs, such as dbname=x host=/run/server");
}

/// The client libraries would read such a name as a route of their own, with a password in it.
void expect_plain_name(const std::string& database) {
  if (database.find("//") != std::string::npos || database.find('=') != std::string::npos ||
      database.find('@') != std::string::npos)
    refuse("a URL, or a list of keys, stands where the name of the database belongs");
}

void add(Parameters& into, const RouteForm& form, const std::string& given_key, const std::string& value) {
  const std::string key = lower_case(trimmed(given_key));
  if (key == "password" || key == "pass" || key == "passwd")
    throw BusError(
        "the route holds a password, which everybody could see who lists processes: give it as credentials, "
        "in "
        "$IPCM_DB_PASSWORD, or in the configuration of the server's clients");
  const auto name = form.names.find(key);
  if (name == form.names.end()) refuse("unknown key", key);
  if (value.find('\0') != std::string::npos) refuse("the value of '" + key + "' holds a NUL");
  if (name->second == form.database) expect_plain_name(value);
  into[name->second] = value;
}

/// `key = 'value'`, separated by blanks; a backslash escapes the next character.
void read_pairs(Parameters& into, const RouteForm& form, const std::string& text) {
  std::size_t at = 0;
  const auto skip = [&] {
    while (at < text.size() && wire::is_blank(text[at])) ++at;
  };
  for (skip(); at < text.size(); skip()) {
    const auto equals = text.find('=', at);
    if (equals == std::string::npos)
      refuse(text.find("://") == text.npos ? "a key without a value" : "it is a URL");
    const std::string key = text.substr(at, equals - at);
    at = equals + 1;
    skip();
    const bool quoted = at < text.size() && text[at] == '\'';
    if (quoted) ++at;
    std::string value;
    for (;; ++at) {
      if (at == text.size()) {
        if (quoted) refuse("a quote is not closed");
        break;
      }
      if (quoted && text[at] == '\'') {
        ++at;
        break;
      }
      if (!quoted && wire::is_blank(text[at])) break;
      if (text[at] == '\\' && ++at == text.size()) refuse("a backslash at its end");
      value.push_back(text[at]);
    }
    add(into, form, key, value);
  }
}

}  // namespace

Parameters read_route(const std::string& route, const RouteForm& form) {
  Parameters parameters;
  if (route.find("://") != std::string::npos)
    refuse("it is a URL, which may hold a password that everybody could see who lists processes");
  if (lower_case(route.substr(0, 4)) != "dbi:") {
    read_pairs(parameters, form, route);
  } else {
    const auto colon = route.find(':', 4);
    const std::string driver = lower_case(route.substr(4, colon == std::string::npos ? colon : colon - 4));
    if (std::find(form.dbi_names.begin(), form.dbi_names.end(), driver) == form.dbi_names.end())
      refuse("it is one of another protocol: dbi", driver);
    const std::string rest = colon == std::string::npos ? std::string() : route.substr(colon + 1);
    if (!rest.empty() && rest.find('=') == std::string::npos) {
      expect_plain_name(rest);
      parameters[form.database] = rest;  // dbi:mysql:NAME
    } else {
      for (std::size_t at = 0; at < rest.size();) {
        const std::size_t end = std::min(rest.find(';', at), rest.size());
        const std::string pair = rest.substr(at, end - at);
        at = end + 1;
        if (trimmed(pair).empty()) continue;
        const auto equals = pair.find('=');
        if (equals == std::string::npos) refuse("a key without a value");
        add(parameters, form, pair.substr(0, equals), trimmed(pair.substr(equals + 1)));
      }
    }
  }
  return parameters;
}

void add_credentials(Parameters& parameters, const Credentials& credentials) {
  std::string user = credentials.user, password = credentials.password;
  if (user.empty()) user = os::environment("IPCM_DB_USER").value_or("");
  if (password.empty()) password = os::environment("IPCM_DB_PASSWORD").value_or("");
  if (!user.empty()) parameters["user"] = user;
  if (!password.empty()) parameters["password"] = password;
}

}  // namespace ipcm::database
