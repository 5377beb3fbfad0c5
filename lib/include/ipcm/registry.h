#pragma once

#include <concepts>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ipcm/content.h"
#include "ipcm/service.h"

namespace ipcm {

namespace detail {
template <class S>
concept DeclaresArgs = requires {
  typename S::Args;
};
template <class S>
concept WithArgs = DeclaresArgs<S> && std::constructible_from<S, ServiceSetup, typename S::Args>;
template <class S>
concept UsableArgs =
    std::derived_from<S, Service> && WithArgs<S> && std::default_initializable<typename S::Args> &&
    Serializable<typename S::Args> && Deserializable<typename S::Args>;
template <class S>
concept TakesNoArgs =
    std::derived_from<S, Service> && !DeclaresArgs<S> && std::constructible_from<S, ServiceSetup>;
/// Throws UsageError unless there is nothing in `args`.
void expect_no_args(const std::string& class_name, const Content& args);
}  // namespace detail

/// Class names and how to make a service of each: an ordinary object, filled by an explicit list.
/// (Registration by constructors of static objects is dropped by linkers from static libraries.)
class Registry {
 public:
  using Factory = std::function<std::unique_ptr<Service>(ServiceSetup setup, const Content& args)>;
  struct Entry {
    std::string name;
    std::string description;
    std::vector<FieldDescription> args;
    Factory make;
  };

  /// Throws UsageError for a name that is empty or there already.
  void add(std::string name, std::string description, std::vector<FieldDescription> args, Factory make);

  /// A class with a constructor `S(ServiceSetup, S::Args)`, Args being default-constructible and known to
  /// cereal; or with `S(ServiceSetup)`, if it takes no arguments.
  template <class S>
  void add(std::string name, std::string description) {
    static_assert(std::derived_from<S, Service>,
                  "Registry::add<S>(): S must be a class derived publicly from ipcm::Service");
    if constexpr (!std::derived_from<S, Service>) {
    } else if constexpr (detail::DeclaresArgs<S>) {
      static_assert(detail::WithArgs<S>,
                    "Registry::add<S>(): S declares Args, so it needs a public constructor "
                    "S(ipcm::ServiceSetup, S::Args)");
      static_assert(std::default_initializable<typename S::Args> && detail::Serializable<typename S::Args> &&
                        detail::Deserializable<typename S::Args>,
                    "Registry::add<S>(): S::Args must be default-constructible and have a serialize() "
                    "function for cereal");
    } else {
      static_assert(
          std::constructible_from<S, ServiceSetup>,
          "Registry::add<S>(): S needs a public constructor S(ipcm::ServiceSetup), or a struct Args and a "
          "constructor S(ipcm::ServiceSetup, S::Args)");
    }
    if constexpr (detail::UsableArgs<S>) {
      using Args = typename S::Args;
      add(name, std::move(description), describe_fields<Args>(),
          [name](ServiceSetup setup, const Content& args) {
            const Content& given = args.is_null() ? empty_object() : args;
            return std::make_unique<S>(std::move(setup),
                                       given.as_strict<Args>("args of class '" + name + "'"));
          });
    } else if constexpr (detail::TakesNoArgs<S>) {
      add(name, std::move(description), {}, [name](ServiceSetup setup, const Content& args) {
        detail::expect_no_args(name, args);
        return std::make_unique<S>(std::move(setup));
      });
    }
  }

  [[nodiscard]] const Entry* find(const std::string& name) const;
  [[nodiscard]] const std::map<std::string, Entry>& entries() const { return entries_; }
  /// "echo, greeter": for messages.
  [[nodiscard]] std::string names() const;

 private:
  [[nodiscard]] static const Content& empty_object();
  std::map<std::string, Entry> entries_;
};

/// The services that every boot binary has, and every program that forks: `echo`.
[[nodiscard]] Registry builtin_services();

}  // namespace ipcm
