#pragma once
/// The table of keys, and a configuration, as text for people: `parley config print`, conf/parley.toml,
/// docs/configuration.md. Never a secret.

#include "app/config.hpp"

#include <string>

namespace parley::app {

/// Every key with its value, as TOML that loads again; of a secret only whether it is set.
[[nodiscard]] std::string print_config(const config& c);

/// conf/parley.toml: every key with its document, its range and its default, commented out.
[[nodiscard]] std::string documented_defaults();

/// The tables of docs/configuration.md.
[[nodiscard]] std::string keys_as_markdown();

}  // namespace parley::app
