#pragma once

#include <concepts>
#include <functional>
#include <map>
#include <memory>
#include <optional>
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
/// Throws UsageError if `args` has a value.
void expect_no_args(const std::string& class_name, const Content& args);
}  // namespace detail

/// The classes of services that a program can make, by name. A program adds them one by one: constructors of
/// static objects could not do that, since linkers drop such objects from static libraries.
class Registry {
 public:
  using Factory = std::function<std::unique_ptr<Service>(ServiceSetup setup, const Content& args)>;
  struct Entry {
    std::string name;
    std::string description;
    /// Returns the descriptions of the arguments. A function, since a start does not need them.
    std::function<std::vector<FieldDescription>()> args;
    Factory make;
  };

  /// Adds a class. `args` describes its arguments; null: it has none. Throws UsageError for a name that is empty
  /// or already registered.
  void add(std::string name, std::string description, std::function<std::vector<FieldDescription>()> args,
           Factory make);

  /// Sets the factory for all classes that are not registered: for a program that learns the class from
  /// ServiceSetup::class_name(). Throws UsageError if there is one already.
  void add_fallback(std::string description, Factory make);

  /// Adds the class S. It has a constructor `S(ServiceSetup, S::Args)`, where Args is default-constructible
  /// and has a serialize() function for cereal; or, if it takes no arguments, `S(ServiceSetup)`.
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
      add(name, std::move(description), describe_fields<Args>,
          [name](ServiceSetup setup, const Content& args) {
            const Content& given = args.is_null() ? empty_object() : args;
            return std::make_unique<S>(std::move(setup),
                                       given.as_strict<Args>("args of class '" + name + "'"));
          });
    } else if constexpr (detail::TakesNoArgs<S>) {
      add(name, std::move(description), nullptr, [name](ServiceSetup setup, const Content& args) {
        detail::expect_no_args(name, args);
        return std::make_unique<S>(std::move(setup));
      });
    }
  }

  /// Returns the class of that name, else the fallback, else null.
  [[nodiscard]] const Entry* find(const std::string& name) const;
  [[nodiscard]] const std::map<std::string, Entry>& entries() const { return entries_; }
  /// Returns the names as a text for messages: "echo, greeter".
  [[nodiscard]] std::string names() const;

 private:
  [[nodiscard]] static const Content& empty_object();
  std::map<std::string, Entry> entries_;
  std::optional<Entry> fallback_;
};

/// Returns the classes that are part of the library: `echo`.
[[nodiscard]] Registry builtin_services();

}  // namespace ipcm
