#include "actors/new_tenant.hpp"
#include "app/commands.hpp"
#include "app/config_values.hpp"
#include "app/http_client.hpp"
#include "app/key_files.hpp"
#include "protocol/utf8.hpp"
#include "store/sqlite_store.hpp"

#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include <cstdlib>
#include <ostream>

namespace parley::app {
namespace {

constexpr std::size_t tenants_per_page = 100;

std::string as_text(const nlohmann::ordered_json& value) {
  return value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

exit_status report(std::ostream& err, const error& failure) {
  err << "parley: " << failure.message << "\n";
  return status_of(failure);
}

/// The database is opened here when one of its options names it, and the node is asked otherwise.
bool opens_the_database(const tenant_arguments& a) {
  return a.url.empty() &&
         !(a.config.database.empty() && a.config.file.empty() && a.config.data_dir.empty());
}

std::optional<loaded_config> load(const tenant_arguments& a, std::ostream& err) {
  auto loaded = load_or_report(inputs_from(a.config, false), err);
  // `--database FILE` alone: what belongs to the database lies beside it.
  if (loaded && !a.config.database.empty() && !loaded->was_given("data_dir")) {
    loaded->values.data_dir = loaded->values.database_file().parent_path();
  }
  return loaded;
}

// --- through the node

std::string url_of(const tenant_arguments& a, const config& c) {
  if (!a.url.empty()) return a.url;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread, and nothing changes the environment.
  if (const char* url = std::getenv("PARLEY_URL"); url != nullptr && *url != '\0') return url;
  const auto where = parse_host_port(c.listen_addr).value_or(host_port{"", 8080});
  auto host = where.host;
  if (host.empty() || host == "0.0.0.0") host = "127.0.0.1";
  if (host == "::") host = "::1";
  if (host.find(':') != std::string::npos) host = "[" + host + "]";
  return "http://" + host + ":" + std::to_string(where.port);
}

/// The answer's body; nullopt: it was reported why there is none.
std::optional<nlohmann::json> ask(const tenant_arguments& a, const config& c, std::string_view method,
                                  const std::string& path, const nlohmann::json& body,
                                  std::ostream& err, exit_status& status) {
  status = exit_status::usage;
  if (c.master_api_key.empty()) {
    err << "parley: the node asks for its master key: set PARLEY_MASTER_API_KEY\n";
    return std::nullopt;
  }
  const auto client = http_client::for_url(url_of(a, c));
  if (!client) {
    report(err, client.error());
    return std::nullopt;
  }
  status = exit_status::failure;
  const auto reply = client->request(method, path, {{"X-Master-Key", c.master_api_key}}, body);
  if (!reply) {
    err << "parley: " << reply.error().message << "\n"
        << "  --url or PARLEY_URL names another node; without a running one, --database FILE opens "
           "the database\n";
    return std::nullopt;
  }
  if (reply->status / 100 != 2) {
    err << "parley: " << client->url() << " refused: " << refusal_text(*reply) << "\n";
    return std::nullopt;
  }
  if (!reply->body.is_object()) {
    err << "parley: " << client->url() << " is no Parley node: its answer is not JSON\n";
    return std::nullopt;
  }
  status = exit_status::ok;
  return reply->body;
}

// --- without a node

result<std::unique_ptr<store::database>> open_database(const config& c) {
  store::sqlite_options options;
  options.file = c.database_file();
  options.durability = c.durability;
  options.idempotency_ttl = c.limits.idempotency_ttl;
  auto opened = store::open_sqlite(options, system_clock_source(), system_random());
  if (!opened && opened.error().code == error_code::conflict) {
    auto failure = opened.error();
    failure.message += " (if a node runs on it, ask the node: --url http://host:port)";
    return failure;
  }
  return opened;
}

template <class T>
result<T> translated(const store::write_result<T>& written) {
  if (!written) {
    auto failure = written.error().why;
    if (written.error().scope == store::failure_scope::full ||
        written.error().scope == store::failure_scope::fatal) {
      failure.code = error_code::unavailable;
    }
    return failure;
  }
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return *written;
  }
}

result<void> store_tenant(store::database& database, const store::new_tenant& row) {
  auto& writer = database.writer();
  if (auto begun = translated(writer.begin()); !begun) return begun;
  if (auto made = translated(writer.create_tenant(row)); !made) {
    writer.rollback();
    return made.error();
  }
  if (auto committed = translated(writer.commit()); !committed) return committed.error();
  return translated(writer.close_clean());
}

exit_status create_in_database(const config& c, const std::string& name,
                               const std::string& tenant_config, std::ostream& out,
                               std::ostream& err) {
  ::umask(S_IRWXG | S_IRWXO);
  if (auto made = make_data_dir(c.data_dir); !made) return report(err, made.error());
  if (auto made = make_data_dir(c.database_file().parent_path()); !made)
    return report(err, made.error());
  const auto database = open_database(c);  // before the key: its lock says that no node runs here
  if (!database) return report(err, database.error());
  secret_key key{};
  if (!c.secret_key.empty()) {
    key = *parse_secret_key(c.secret_key);
  } else {
    const auto loaded = load_secret_key(c.data_dir, system_random());
    if (!loaded) return report(err, loaded.error());
    key = loaded->key;
  }
  const auto fresh =
      actors::make_tenant(name, tenant_config, key, system_clock_source().now(), system_random());
  if (auto stored = store_tenant(**database, fresh.row); !stored)
    return report(err, stored.error());
  out << as_text(actors::shown_once(fresh));
  return exit_status::ok;
}

exit_status list_in_database(const config& c, std::ostream& out, std::ostream& err) {
  std::error_code code;
  if (!std::filesystem::is_regular_file(c.database_file(), code)) {
    err << "parley: there is no database " << c.database_file().string() << "\n";
    return exit_status::io_error;
  }
  const auto database = open_database(c);
  if (!database) return report(err, database.error());
  auto tenants = nlohmann::ordered_json::array();
  {
    const auto reader = (*database)->new_reader();
    if (!reader) return report(err, reader.error());
    std::string cursor;
    do {
      const auto page = (*reader)->tenants(tenants_per_page, cursor);
      if (!page) return report(err, page.error());
      for (const auto& row : page->tenants) tenants.push_back(actors::shown(row));
      cursor = page->next_cursor;
    } while (!cursor.empty());
  }
  if (auto closed = translated((*database)->writer().close_clean()); !closed)
    return report(err, closed.error());
  out << as_text({{"tenants", tenants}});
  return exit_status::ok;
}

}  // namespace

exit_status run_tenant_create(const tenant_arguments& a, std::ostream& out, std::ostream& err) {
  auto tenant_config = nlohmann::json::object();
  if (!a.tenant_config.empty()) {
    tenant_config = nlohmann::json::parse(a.tenant_config, nullptr, false);
    if (!tenant_config.is_object()) {
      err << "parley: --tenant-config: expected a JSON object, such as {\"rate_limit\":50}\n";
      return exit_status::usage;
    }
  }
  const auto loaded = load(a, err);
  if (!loaded) return exit_status::usage;
  if (a.name.empty() || a.name.size() > loaded->values.limits.max_name || !is_valid_utf8(a.name)) {
    err << "parley: a tenant's name is 1 to " << loaded->values.limits.max_name
        << " bytes of UTF-8\n";
    return exit_status::usage;
  }
  if (opens_the_database(a)) {
    if (!tenant_config.empty()) {
      err << "parley: --tenant-config is checked by the node: start it, and use --url\n";
      return exit_status::usage;
    }
    return create_in_database(loaded->values, a.name, "{}", out, err);
  }
  nlohmann::json body{{"name", a.name}};
  if (!tenant_config.empty()) body["config"] = tenant_config;
  auto status = exit_status::ok;
  if (const auto answer = ask(a, loaded->values, "POST", "/v1/admin/tenants", body, err, status)) {
    out << as_text(*answer);
  }
  return status;
}

exit_status run_tenant_list(const tenant_arguments& a, std::ostream& out, std::ostream& err) {
  const auto loaded = load(a, err);
  if (!loaded) return exit_status::usage;
  if (opens_the_database(a)) return list_in_database(loaded->values, out, err);
  auto tenants = nlohmann::json::array();
  std::string cursor;
  do {
    auto path = "/v1/admin/tenants?limit=" + std::to_string(tenants_per_page);
    if (!cursor.empty()) path += "&cursor=" + cursor;  // base64url: nothing to escape
    auto status = exit_status::ok;
    const auto answer = ask(a, loaded->values, "GET", path, nullptr, err, status);
    if (!answer) return status;
    for (const auto& tenant : answer->value("tenants", nlohmann::json::array()))
      tenants.push_back(tenant);
    const auto next = answer->find("next_cursor");
    cursor = next != answer->end() && next->is_string() ? next->get<std::string>() : "";
  } while (!cursor.empty());
  out << as_text({{"tenants", tenants}});
  return exit_status::ok;
}

}  // namespace parley::app
