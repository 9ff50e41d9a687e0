#pragma once
/// The program's commands, each with its arguments already taken apart by main.cpp. They write to standard output what was
/// asked for, to standard error what went wrong, and give the exit status.

#include "app/config.hpp"
#include "protocol/errors.hpp"

#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

namespace parley::app {

/// SPEC 7: 0, 1 failure, 2 usage or configuration, 74 I/O error.
enum class exit_status : int { ok = 0, failure = 1, usage = 2, io_error = 74 };

/// What commands that look at the configuration have in common.
struct config_arguments {
  std::string file;               ///< --config
  std::vector<std::string> sets;  ///< --set key=value
  std::string listen, data_dir, log_level, log_format;
  std::string database;  ///< --database: relative to the working directory, as files of a command line are
};
[[nodiscard]] config_inputs inputs_from(const config_arguments& arguments, bool dev);
/// Reads the configuration; reports what is wrong with it and gives nullopt, else reports nothing.
[[nodiscard]] std::optional<loaded_config> load_or_report(const config_inputs& inputs,
                                                          std::ostream& err);

/// How a failure ends the program: `unavailable` is the disk's fault, `validation` the user's.
[[nodiscard]] exit_status status_of(const error& failure);

struct serve_arguments {
  config_arguments config;
  bool dev = false;
};
[[nodiscard]] exit_status run_serve(const serve_arguments& arguments);

struct verify_arguments {
  config_arguments config;
  bool json = false;
};
[[nodiscard]] exit_status run_verify(const verify_arguments& arguments, std::ostream& out,
                                     std::ostream& err);

struct tenant_arguments {
  config_arguments config;
  std::string url;               ///< --url
  std::string name;              ///< of the new one
  std::string tenant_config;     ///< a JSON object; empty: none
  std::string tenant;            ///< the id of one that is there
  std::string kind = "api_key";  ///< of a key to make
  std::string key;               ///< id of one to delete
};
[[nodiscard]] exit_status run_tenant_create(const tenant_arguments& arguments, std::ostream& out,
                                            std::ostream& err);
[[nodiscard]] exit_status run_tenant_list(const tenant_arguments& arguments, std::ostream& out,
                                          std::ostream& err);
/// A second credential of a kind, shown once; the first one stays until it is deleted.
[[nodiscard]] exit_status run_tenant_rotate_key(const tenant_arguments& arguments,
                                                std::ostream& out, std::ostream& err);
[[nodiscard]] exit_status run_tenant_delete_key(const tenant_arguments& arguments,
                                                std::ostream& out, std::ostream& err);
[[nodiscard]] exit_status run_tenant_set_disabled(const tenant_arguments& arguments, bool disabled,
                                                  std::ostream& out, std::ostream& err);
[[nodiscard]] exit_status run_tenant_delete(const tenant_arguments& arguments, std::ostream& out,
                                            std::ostream& err);

struct webhook_arguments {
  config_arguments config;
  std::string url;           ///< --url
  std::string tenant;        ///< its id
  std::string since, until;  ///< RFC 3339
  bool dead_letters = false;
  bool json = false;
};
[[nodiscard]] exit_status run_webhook_list(const webhook_arguments& arguments, std::ostream& out,
                                           std::ostream& err);
/// 1 also when the endpoint does not take the event.
[[nodiscard]] exit_status run_webhook_test(const webhook_arguments& arguments, std::ostream& out,
                                           std::ostream& err);
[[nodiscard]] exit_status run_webhook_replay(const webhook_arguments& arguments, std::ostream& out,
                                             std::ostream& err);
[[nodiscard]] exit_status run_webhook_dead_letters(const webhook_arguments& arguments,
                                                   std::ostream& out, std::ostream& err);

struct token_arguments {
  config_arguments config;
  std::string tenant;  ///< its id
  std::string user;    ///< of a new token
  std::string ttl = "1h";
  std::string audience;  ///< of a new token; of a tenant whose secret alone is given
  std::string key;       ///< the key id of the secret
  std::string secret, secret_file;
  std::string token;  ///< to check
};
[[nodiscard]] exit_status run_token_mint(const token_arguments& arguments, std::ostream& out,
                                         std::ostream& err);
/// 0: it is good now; 1: it is not, and the output says which rule it breaks.
[[nodiscard]] exit_status run_token_check(const token_arguments& arguments, std::ostream& out,
                                          std::ostream& err);

struct config_check_arguments {
  config_arguments config;
  bool dev = false;
};
[[nodiscard]] exit_status run_config_check(const config_check_arguments& arguments,
                                           std::ostream& out, std::ostream& err);

struct config_print_arguments {
  config_arguments config;
  bool dev = false;
  bool limits = false;
  bool defaults = false;
  bool markdown = false;
};
[[nodiscard]] exit_status run_config_print(const config_print_arguments& arguments,
                                           std::ostream& out, std::ostream& err);

[[nodiscard]] exit_status run_version(bool json, std::ostream& out);
/// `0.1.0`
[[nodiscard]] const char* program_version();

}  // namespace parley::app
