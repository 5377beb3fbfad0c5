#include "os/accounts.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <optional>
#include <string_view>

#include "ipcm/error.h"
#include "os/descriptor.h"
#include "os/pipe.h"
#include "os/sys.h"

namespace ipcm::os {
namespace {

constexpr std::size_t kLargestFile = 16UL * 1024 * 1024;

std::string content_of(const char* path) {
  const UniqueFd file(quiet([&] { return ::open(path, O_RDONLY | O_CLOEXEC); }));
  return file ? read_all(file.get(), kLargestFile, path) : std::string();
}

/// Returns what stands before the delimiter, and removes both from the text.
std::string_view take_until(std::string_view& text, char delimiter) {
  const auto end = text.find(delimiter);
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return part;
}

std::optional<unsigned> number_in(std::string_view text) {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  // The largest number means "unchanged" to the kernel.
  if (error != std::errc() || end != text.data() + text.size() || number == ~0U) return std::nullopt;
  return number;
}

struct Account {
  std::string name;
  unsigned user = 0, group = 0;
};

std::optional<Account> find_user(const std::string& wanted) {
  const std::string all = content_of("/etc/passwd");
  const auto number = number_in(wanted);
  for (std::string_view rest = all; !rest.empty();) {
    std::string_view line = take_until(rest, '\n');
    const std::string_view name = take_until(line, ':');
    (void)take_until(line, ':');  // the password
    const auto user = number_in(take_until(line, ':'));
    const auto group = number_in(take_until(line, ':'));
    if (user && group && (name == wanted || (number && user == number)))
      return Account{std::string(name), *user, *group};
  }
  return std::nullopt;
}

std::optional<unsigned> find_group(const std::string& wanted) {
  if (const auto number = number_in(wanted)) return number;
  const std::string all = content_of("/etc/group");
  for (std::string_view rest = all; !rest.empty();) {
    std::string_view line = take_until(rest, '\n');
    const std::string_view name = take_until(line, ':');
    (void)take_until(line, ':');
    if (const auto group = number_in(take_until(line, ':')); group && name == wanted) return group;
  }
  return std::nullopt;
}

std::vector<unsigned> groups_of(const std::string& user, unsigned own_group) {
  std::vector<unsigned> groups = {own_group};
  const std::string all = content_of("/etc/group");
  for (std::string_view rest = all; !rest.empty();) {
    std::string_view line = take_until(rest, '\n');
    (void)take_until(line, ':');
    (void)take_until(line, ':');
    const auto group = number_in(take_until(line, ':'));
    while (!line.empty())
      if (take_until(line, ',') == user && group && *group != own_group) groups.push_back(*group);
  }
  return groups;
}

}  // namespace

Identity identity_of(const std::string& user, const std::string& group) {
  const std::string wanted = user.empty() ? std::to_string(::geteuid()) : user;
  auto account = find_user(wanted);
  const auto number = number_in(wanted);
  if (!account && !number)
    throw UsageError("user '" + wanted + "' is not in /etc/passwd; a number works, too");
  if (!account && group.empty())
    throw UsageError("user " + wanted + " is not in /etc/passwd, so its group has to be given, too");
  if (!account) account = Account{{}, *number, *number};
  if (!group.empty()) {
    const auto found = find_group(group);
    if (!found) throw UsageError("group '" + group + "' is not in /etc/group; a number works, too");
    account->group = *found;
  }
  Identity identity{account->user, account->group, {}};
  identity.groups = account->name.empty() ? std::vector<unsigned>{account->group}
                                          : groups_of(account->name, account->group);
  return identity;
}

}  // namespace ipcm::os
