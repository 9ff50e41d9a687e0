#include "app/commands.hpp"
#include "app/config_print.hpp"
#include "app/ledger.hpp"

#include <ostream>

namespace parley::app {

config_inputs inputs_from(const config_arguments& arguments, bool dev) {
  config_inputs inputs;
  inputs.dev = dev;
  if (!arguments.file.empty()) inputs.file = arguments.file;
  read_process_environment(inputs);
  inputs.sets = arguments.sets;
  const auto flag = [&](const char* name, const char* key, const std::string& value) {
    if (!value.empty()) inputs.flags.push_back({name, key, value});
  };
  flag("--listen", "listen_addr", arguments.listen);
  flag("--data-dir", "data_dir", arguments.data_dir);
  flag("--log-level", "log_level", arguments.log_level);
  flag("--log-format", "log_format", arguments.log_format);
  if (!arguments.database.empty()) {
    flag("--database", "database", std::filesystem::absolute(arguments.database).string());
  }
  return inputs;
}

std::optional<loaded_config> load_or_report(const config_inputs& inputs, std::ostream& err) {
  auto loaded = load_config(inputs);
  if (loaded.problems.empty()) return loaded;
  err << "parley: the configuration is wrong:\n";
  for (const auto& problem : loaded.problems) err << "  " << problem << "\n";
  return std::nullopt;
}

exit_status status_of(const error& failure) {
  switch (failure.code) {
    case error_code::unavailable:
      return exit_status::io_error;
    case error_code::validation:
      return exit_status::usage;
    default:
      return exit_status::failure;
  }
}

exit_status run_config_check(const config_check_arguments& arguments, std::ostream& out,
                             std::ostream& err) {
  const auto loaded = load_or_report(inputs_from(arguments.config, arguments.dev), err);
  if (!loaded) return exit_status::usage;
  for (const auto& warning : loaded->warnings) err << "warning: " << warning << "\n";
  if (loaded->values.master_api_key.empty() && !arguments.dev) {
    err << "warning: master_api_key is not set here; without it `parley serve` refuses to start\n";
  }
  const auto machine = look_at_machine();
  if (const auto problem = ledger_problem(memory_ledger(loaded->values, machine), machine);
      !problem.empty()) {
    err << "parley: on this machine a start would be refused: " << problem << "\n";
    return exit_status::usage;
  }
  out << "the configuration is good\n";
  return exit_status::ok;
}

exit_status run_config_print(const config_print_arguments& arguments, std::ostream& out,
                             std::ostream& err) {
  if (arguments.defaults) {
    out << documented_defaults();
    return exit_status::ok;
  }
  if (arguments.markdown) {
    out << keys_as_markdown();
    return exit_status::ok;
  }
  const auto loaded = load_or_report(inputs_from(arguments.config, arguments.dev), err);
  if (!loaded) return exit_status::usage;
  for (const auto& warning : loaded->warnings) err << "warning: " << warning << "\n";
  if (arguments.limits) {
    const auto machine = look_at_machine();
    out << print_ledger(memory_ledger(loaded->values, machine), machine);
  } else {
    out << print_config(loaded->values);
  }
  return exit_status::ok;
}

}  // namespace parley::app
