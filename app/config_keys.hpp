#pragma once
/// The one table of configuration keys: name, default, what is allowed, what it does. Reading, messages, `config print`,
/// conf/parley.toml and docs/configuration.md all come from it, so a new key is one row (and a member of `config`).

#include "app/config.hpp"

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace parley::app {

struct config_key {
  std::string_view name;
  std::string allowed;    ///< in words, the end of «… is not allowed: »
  std::string_view unit;  ///< what a bare number counts; empty where there is none
  std::string_view doc;   ///< one or two sentences
  /// Puts a value's text into the configuration. Not allowed: false, or the reason in `why` where it is not obvious.
  std::function<bool(config&, std::string_view text, std::string& why)> parse;
  /// The value as text that parse() reads back. Secrets too: whoever prints asks `secret` first.
  std::function<std::string(const config&)> show;
  std::vector<std::string_view> choices{};        ///< for «did you mean»
  std::vector<std::string_view> aliases{};        ///< other names of the key, in every layer
  std::vector<std::string_view> chatapi_names{};  ///< environment variables without PARLEY_
  bool quoted_in_toml = true;
  bool secret = false;
  bool reloadable = false;  ///< SIGHUP takes it over
};

struct config_section {
  std::string_view title;
  std::vector<config_key> keys;
};
[[nodiscard]] const std::vector<config_section>& config_sections();
/// By name or alias; nullptr: no such key.
[[nodiscard]] const config_key* find_key(std::string_view name);
/// Every name and alias.
[[nodiscard]] std::span<const std::string_view> key_names();

/// PARLEY_… variables that are not configuration: the CLI's, the tests' and the tools'.
[[nodiscard]] std::span<const std::string_view> other_variables();

}  // namespace parley::app
