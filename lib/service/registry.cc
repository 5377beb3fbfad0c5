#include "ipcm/registry.h"

#include "ipcm/error.h"

namespace ipcm {

void Registry::add(std::string name, std::string description,
                   std::function<std::vector<FieldDescription>()> args, Factory make) {
  if (name.empty()) throw UsageError("a class needs a name");
  if (!make) throw UsageError("the class '" + name + "' needs a factory");
  if (!args) args = [] { return std::vector<FieldDescription>(); };
  if (entries_.contains(name)) throw UsageError("the class '" + name + "' is registered already");
  entries_.emplace(name, Entry{name, std::move(description), std::move(args), std::move(make)});
}

void Registry::add_fallback(std::string description, Factory make) {
  if (!make) throw UsageError("the fallback needs a factory");
  if (fallback_) throw UsageError("there is a fallback already");
  fallback_ = Entry{{}, std::move(description), {}, std::move(make)};
}

const Registry::Entry* Registry::find(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found != entries_.end()) return &found->second;
  return fallback_ ? &*fallback_ : nullptr;
}

std::string Registry::names() const {
  std::string text;
  for (const auto& [name, entry] : entries_) text.append(text.empty() ? "" : ", ").append(name);
  return text.empty() ? "none" : text;
}

const Content& Registry::empty_object() {
  static const Content empty = Content::trusted_json("{}");
  return empty;
}

namespace detail {

void expect_no_args(const std::string& class_name, const Content& args) {
  if (!args.is_null() && args.json() != "{}" && args.json() != "[]")
    throw UsageError("the class '" + class_name + "' takes no args, found " + args.json().substr(0, 60));
}

}  // namespace detail
}  // namespace ipcm
