#include "app/config.hpp"

#include "app/config_keys.hpp"
#include "app/config_values.hpp"
#include "app/dotenv.hpp"

#include <sys/stat.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <sstream>

extern char** environ;  // POSIX has no header for it

namespace parley::app {
namespace {

constexpr std::string_view env_prefix = "PARLEY_";
constexpr std::string_view file_suffix = "_FILE";
constexpr std::size_t secret_file_max_bytes = 4096;  // any secret is far shorter

/// One value on its way into the configuration.
struct given_value {
  const config_key* key;
  std::string name;   ///< as the layer calls it: `MAX_CONNECTIONS_PER_USER`, `max_content`
  std::string where;  ///< `parley.toml line 3`, `environment`, `--set`
  std::string text;
};

bool looks_secret(std::string_view name) {
  const auto lower = to_lower(name);
  return std::ranges::any_of(
      std::array<std::string_view, 5>{"key", "secret", "token", "pass", "dsn"},
      [&](std::string_view word) { return lower.find(word) != std::string::npos; });
}

/// Reads the layers one after the other into one configuration and collects what is wrong.
class loader {
 public:
  explicit loader(const config_inputs& inputs) : inputs_(inputs) {
    loaded_.values = default_config(inputs.dev);
  }

  loaded_config run() {
    if (inputs_.file) read_file(*inputs_.file);
    read_dotenv();
    read_environment();
    read_command_line();
    check_together();
    return std::move(loaded_);
  }

 private:
  void problem(std::string text) { loaded_.problems.push_back(std::move(text)); }
  void warning(std::string text) { loaded_.warnings.push_back(std::move(text)); }

  // --- values

  bool parse_into(config& target, const given_value& given) {
    std::string why;
    if (given.key->parse(target, given.text, why)) return true;
    std::string text{given.key->name};
    text += ": ";
    if (given.key->secret) {
      text += "the value (not shown)";
    } else {
      // A database's parameters may hold a password.
      const std::string_view all = given.text;
      const bool cut = given.key->name == "database" && all.find('?') != std::string_view::npos;
      text += in_quotes(cut ? all.substr(0, all.find('?')) : all);
      if (cut) text += " with parameters";
    }
    text += " (" + given.where + ") is not allowed: ";
    if (!why.empty()) text += why + "; ";
    text += given.key->allowed;
    if (const auto near = nearest(given.text, given.key->choices)) {
      text += "; did you mean " + std::string{*near} + "?";
    }
    problem(std::move(text));
    return false;
  }

  /// What one layer gave for one key, perhaps by several names: all must say the same.
  void take_layer(const std::vector<given_value>& values) {
    std::map<const config_key*, std::vector<const given_value*>> by_key;
    for (const auto& value : values) by_key[value.key].push_back(&value);
    for (const auto& value : values) {  // in the order of the layer
      auto& same = by_key[value.key];
      if (same.front() != &value) continue;
      std::optional<std::string> first;
      bool agree = true;
      for (const auto* one : same) {
        config scratch;
        if (!parse_into(scratch, *one)) continue;
        const auto shown = one->key->show(scratch);
        if (first && *first != shown) agree = false;
        if (!first) first = shown;
      }
      if (!agree) {
        std::string text{value.key->name};
        text += ": ";
        for (std::size_t i = 0; i < same.size(); ++i) {
          if (i > 0) text += i + 1 == same.size() ? " and " : ", ";
          text += same[i]->name;
          if (!value.key->secret) text += "=" + in_quotes(same[i]->text);
        }
        problem(text + " (" + value.where + ") say different things: give one of them");
      } else if (first) {
        take(value);
      }
    }
  }

  void take(const given_value& value) {
    std::string why;
    value.key->parse(loaded_.values, value.text, why);
    if (!loaded_.was_given(value.key->name)) loaded_.given.push_back(value.key->name);
    if (value.key->name == "database") {
      const auto parsed = parse_database(value.text);
      const auto* name = std::get_if<database_name>(&parsed);
      if (name == nullptr || name->ignored_parameters.empty()) return;
      std::string names;
      for (const auto& one : name->ignored_parameters) {
        names += (names.empty() ? "" : ", ") + in_quotes(one);
      }
      warning("database: the parameters " + names + " (" + value.where +
              ") have no effect: the node sets its own");
    }
  }

  void unknown_key(std::string_view name, std::string_view value, const std::string& where) {
    std::string text{name};
    const auto near = nearest(name, key_names());
    const auto* meant = near ? find_key(*near) : nullptr;
    if (!looks_secret(name) && !(meant != nullptr && meant->secret)) {
      text += "=" + in_quotes(value);
    }
    text += " (" + where + "): there is no such key; ";
    text += near ? "did you mean " + std::string{*near} + "?"
                 : std::string{"`parley config print --defaults` lists all"};
    problem(std::move(text));
  }

  // --- file

  void read_file(const std::filesystem::path& path) {
    const auto shown = path.string();
    std::ifstream in{path, std::ios::binary};
    std::stringstream content;
    if (!in || !(content << in.rdbuf())) {
      std::error_code ignored;
      if (in && std::filesystem::is_regular_file(path, ignored) &&
          std::filesystem::is_empty(path, ignored)) {
        return;  // reading nothing sets the fail bit
      }
      problem(shown + ": can't be read");
      return;
    }
    const auto text = content.str();
    toml::table table;
    try {
      table = toml::parse(std::string_view{text}, std::string_view{shown});
    } catch (const toml::parse_error& e) {
      const auto line = e.source().begin.line;
      auto message = shown + " line " + std::to_string(line) + ": not TOML";
      // The parser's words may quote the line.
      if (!looks_secret(line_of(text, line))) {
        message += ": " + in_quotes(e.description());
      }
      problem(std::move(message));
      return;
    }
    std::vector<given_value> values;
    bool has_secret = false;
    for (const auto& [toml_key, node] : table) {
      const std::string name{toml_key.str()};
      const auto where = shown + " line " + std::to_string(node.source().begin.line);
      if (node.is_table() || node.is_array_of_tables()) {
        problem(name + " (" + where + "): keys are flat, there are no sections");
        continue;
      }
      const auto* key = find_key(name);
      const auto value = toml_text(node);
      if (key == nullptr) {
        unknown_key(name, value.value_or("..."), where);
      } else if (!value) {
        problem(name + " (" + where + "): the value's type is not allowed: " + key->allowed);
      } else {
        has_secret = has_secret || key->secret;
        values.push_back({key, name, where, *value});
      }
    }
    take_layer(values);
    struct stat info {};
    if (has_secret && ::stat(path.c_str(), &info) == 0 && (info.st_mode & (S_IRGRP | S_IROTH)) != 0) {
      warning(
          shown +
          " holds a secret and others may read it: chmod 600, or give the secret as PARLEY_…_FILE");
    }
  }

  static std::string_view line_of(std::string_view text, std::size_t line) {
    for (; line > 1 && !text.empty(); --line) {
      text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
    }
    return text.substr(0, text.find('\n'));
  }

  static std::optional<std::string> toml_text(const toml::node& node) {
    if (const auto* s = node.as_string()) return s->get();
    if (const auto* i = node.as_integer()) return std::to_string(i->get());
    if (const auto* b = node.as_boolean()) return b->get() ? "true" : "false";
    if (const auto* items = node.as_array()) {
      std::string joined;
      for (const auto& item : *items) {
        const auto* s = item.as_string();
        if (s == nullptr || s->get().find(',') != std::string::npos) return std::nullopt;
        joined += (joined.empty() ? "" : ",") + s->get();
      }
      return joined;
    }
    return std::nullopt;
  }

  // --- environment

  struct variable {
    std::string name;
    std::string value;
    std::string where;
  };

  void read_environment() {
    std::vector<variable> variables;
    for (const auto& [name, value] : inputs_.environment) {
      variables.push_back({name, value, "environment"});
    }
    take_variables(variables, true);
  }

  void read_dotenv() {
    if (!inputs_.dotenv) return;
    const auto file = parse_dotenv(*inputs_.dotenv);
    for (const auto line : file.not_understood) {
      warning(".env line " + std::to_string(line) + " is no KEY=value and has no effect");
    }
    std::vector<variable> variables;
    for (const auto& line : file.lines) {
      const auto is_same = [&](const auto& real) { return real.first == line.name; };
      if (std::ranges::any_of(inputs_.environment, is_same)) continue;  // the real environment wins
      variables.push_back({line.name, line.value, ".env line " + std::to_string(line.line)});
    }
    take_variables(variables, false);
  }

  void take_variables(const std::vector<variable>& variables, bool is_real_environment) {
    std::vector<given_value> values;
    for (const auto& v : variables) {
      const auto* key = key_of_variable(v.name);
      const bool is_file = key == nullptr && v.name.ends_with(file_suffix);
      if (is_file) {
        key = key_of_variable(v.name.substr(0, v.name.size() - file_suffix.size()));
        if (key != nullptr && !key->secret) key = nullptr;
      }
      if (key == nullptr) {
        if (v.name.starts_with(env_prefix)) unknown_variable(v, is_real_environment);
        continue;
      }
      if (v.value.empty()) continue;  // an empty variable is unset
      auto text = is_file ? read_secret_file(*key, v) : std::optional{v.value};
      if (text) values.push_back({key, v.name, v.where + ", " + v.name, std::move(*text)});
    }
    take_layer(values);
  }

  static const config_key* key_of_variable(std::string_view name) {
    if (name.starts_with(env_prefix)) {
      const auto rest = name.substr(env_prefix.size());
      const auto lower = to_lower(rest);
      if (to_upper(lower) != rest) return nullptr;
      return find_key(lower);
    }
    for (const auto& section : config_sections()) {
      for (const auto& key : section.keys) {
        if (std::ranges::find(key.chatapi_names, name) != key.chatapi_names.end()) return &key;
      }
    }
    return nullptr;
  }

  void unknown_variable(const variable& v, bool is_real_environment) {
    if (std::ranges::find(other_variables(), v.name) != other_variables().end()) return;
    std::vector<std::string> known;
    for (const auto name : key_names()) {
      known.push_back(std::string{env_prefix} + to_upper(name));
      if (find_key(name)->secret) known.push_back(known.back() + std::string{file_suffix});
    }
    for (const auto name : other_variables()) known.emplace_back(name);
    const std::vector<std::string_view> candidates{known.begin(), known.end()};
    auto text = v.name + " (" + v.where + "): there is no such setting; ";
    const auto near = nearest(v.name, candidates);
    text += near ? "did you mean " + std::string{*near} + "?"
                 : std::string{"`parley config print --defaults` lists all"};
    if (is_real_environment) {
      problem(std::move(text));
    } else {
      warning(std::move(text));  // others may use the same .env
    }
  }

  std::optional<std::string> read_secret_file(const config_key& key, const variable& v) {
    std::ifstream in{v.value, std::ios::binary};
    std::string content(secret_file_max_bytes + 1, '\0');
    in.read(content.data(), static_cast<std::streamsize>(content.size()));
    if (!in.is_open() || in.bad()) {
      problem(std::string{key.name} + ": the file " + in_quotes(v.value) + " (" + v.where + ", " +
              v.name + ") can't be read");
      return std::nullopt;
    }
    content.resize(static_cast<std::size_t>(in.gcount()));
    while (content.ends_with('\n') || content.ends_with('\r')) content.pop_back();
    return content;
  }

  // --- command line

  void read_command_line() {
    for (const auto& set : inputs_.sets) {
      const auto equals = set.find('=');
      const auto name = set.substr(0, equals);
      if (equals == std::string::npos || name.empty()) {
        problem("--set " + (looks_secret(set) ? "(not shown)" : in_quotes(set)) +
                ": expected key=value");
        continue;
      }
      const auto value = set.substr(equals + 1);
      if (const auto* key = find_key(name)) {
        take_from_command_line({key, name, "--set", value});
        if (key->secret) {
          warning("--set " + std::string{key->name} +
                  ": everybody on this machine can see a command line; use the environment");
        }
      } else {
        unknown_key(name, value, "--set");
      }
    }
    for (const auto& flag : inputs_.flags) {
      if (const auto* key = find_key(flag.key)) {
        take_from_command_line({key, flag.key, flag.name, flag.value});
      }
    }
  }

  void take_from_command_line(const given_value& value) {
    config scratch;
    if (parse_into(scratch, value)) take(value);
  }

  // --- all together

  void check_together() {
    auto& c = loaded_.values;
    if (inputs_.dev) make_loopback(c);
    if (c.drain_delay >= c.shutdown_drain_timeout) {
      problem("drain_delay: " + show_duration(c.drain_delay) +
              " leaves nothing of shutdown_drain_timeout, " +
              show_duration(c.shutdown_drain_timeout));
    }
    if (c.typing_timeout < c.typing_interval) {
      problem("typing_timeout: " + show_duration(c.typing_timeout) +
              " is less than typing_interval, " + show_duration(c.typing_interval) +
              ": typing would flicker");
    }
    if (c.retry_max_interval < c.retry_interval) {
      problem("retry_max_interval: " + show_duration(c.retry_max_interval) +
              " is less than retry_interval, " + show_duration(c.retry_interval));
    }
    if (c.limits.ws_send_buffer_total != 0 &&
        c.limits.ws_send_buffer > c.limits.ws_send_buffer_total) {
      problem("ws_send_buffer: " + show_size(c.limits.ws_send_buffer) +
              " is more than ws_send_buffer_total, " + show_size(c.limits.ws_send_buffer_total));
    }
    if (c.limits.http_body_total != 0 && c.limits.max_body > c.limits.http_body_total) {
      problem("max_body: " + show_size(c.limits.max_body) + " is more than http_body_total, " +
              show_size(c.limits.http_body_total));
    }
    // A message that is within its bounds should also fit into what carries it; escapes may still make it longer.
    const auto message = c.limits.max_content + c.limits.max_meta;
    if (message > c.limits.ws_max_frame) {
      warning("ws_max_frame: a message of max_content and max_meta, " + show_size(message) +
              ", does not fit into " + show_size(c.limits.ws_max_frame));
    }
    if (message > c.limits.max_body) {
      warning("max_body: a message of max_content and max_meta, " + show_size(message) +
              ", does not fit into " + show_size(c.limits.max_body));
    }
    if (c.limits.http_body_total != 0 && c.limits.max_batch_body > c.limits.http_body_total) {
      warning("max_batch_body: a batch of " + show_size(c.limits.max_batch_body) +
              " does not fit into http_body_total, " + show_size(c.limits.http_body_total));
    }
    if (!c.log_dir.empty()) {
      warning("log_dir has no effect: logs go to standard error");
    }
    constexpr std::size_t good_key_min_bytes = 16;
    if (!c.master_api_key.empty() && c.master_api_key.size() < good_key_min_bytes) {
      warning("master_api_key is short; `openssl rand -hex 32` makes a good one");
    }
    if (std::ranges::find(c.ws_allowed_origins, "*") != c.ws_allowed_origins.end() && !inputs_.dev) {
      warning("ws_allowed_origins is *: pages of every origin may connect");
    }
  }

  /// `--dev` has keys that everybody can read on the terminal: nobody else may reach it.
  void make_loopback(config& c) {
    auto where = parse_host_port(c.listen_addr);
    if (!where) return;
    if (where->host.empty()) {
      c.listen_addr = "127.0.0.1:" + std::to_string(where->port);
    } else if (where->host != "localhost" && where->host != "::1" &&
               !where->host.starts_with("127.")) {
      problem("listen_addr: " + in_quotes(c.listen_addr) +
              " is not allowed with --dev, which listens on loopback only: :8080, 127.0.0.1:8080");
    }
  }

  const config_inputs& inputs_;
  loaded_config loaded_;
};

}  // namespace

std::filesystem::path config::database_file() const {
  return std::filesystem::absolute(data_dir / database).lexically_normal();
}

config default_config(bool dev) {
  config c;
  if (dev) {
    c.listen_addr = "127.0.0.1:8080";
    c.data_dir = "parley-dev-data";
    c.log_format = log_format::text;
    c.drain_delay = std::chrono::milliseconds{0};
    c.herd_window = std::chrono::milliseconds{0};
  }
  return c;
}

bool loaded_config::was_given(std::string_view key) const {
  return std::ranges::find(given, key) != given.end();
}

loaded_config load_config(const config_inputs& inputs) { return loader{inputs}.run(); }

void read_process_environment(config_inputs& inputs) {
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text{*entry};
    const auto equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    inputs.environment.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  std::error_code no_file;
  if (!std::filesystem::is_regular_file(".env", no_file)) return;
  std::ifstream in{".env", std::ios::binary};
  if (std::stringstream content; in && content << in.rdbuf()) inputs.dotenv = content.str();
}

unsigned io_thread_count(const config& c, unsigned cores) {
  if (c.io_threads != 0) return c.io_threads;
  return cores > 1 ? cores - 1 : 1;
}

}  // namespace parley::app
