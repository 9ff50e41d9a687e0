#include "app/commands.hpp"
#include "store/sqlite_store.hpp"

#include <nlohmann/json.hpp>

#include <ostream>

namespace parley::app {

exit_status run_verify(const verify_arguments& arguments, std::ostream& out, std::ostream& err) {
  const auto loaded = load_or_report(inputs_from(arguments.config, false), err);
  if (!loaded) return exit_status::usage;
  const auto file = loaded->values.database_file();
  std::error_code code;
  if (!std::filesystem::is_regular_file(file, code)) {
    err << "parley: there is no database " << file.string() << " (--database FILE names another)\n";
    return exit_status::io_error;
  }
  const auto verified = store::verify_sqlite(file);
  if (!verified) {
    err << "parley: " << verified.error().message << "\n";
    return exit_status::io_error;
  }
  const auto& report = *verified;
  if (arguments.json) {
    const nlohmann::ordered_json object{
        {"database", file.string()}, {"clean", report.problems.empty()},
        {"tenants", report.tenants}, {"rooms", report.rooms},
        {"entries", report.entries}, {"keys", report.keys},
        {"commits", report.commits}, {"problems", report.problems}};
    out << object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  } else {
    out << file.string() << ": " << report.tenants << " tenants, " << report.rooms << " rooms, "
        << report.entries << " entries, " << report.keys << " keys, " << report.commits
        << " commits\n";
    for (const auto& problem : report.problems) out << "  " << problem << "\n";
    out << (report.problems.empty() ? "clean\n" : "NOT clean\n");
  }
  return report.problems.empty() ? exit_status::ok : exit_status::failure;
}

}  // namespace parley::app
