#include "app/tenant_access.hpp"

#include "actors/new_tenant.hpp"
#include "app/admin_api.hpp"
#include "app/key_files.hpp"
#include "protocol/seams.hpp"
#include "store/sqlite_store.hpp"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <ostream>
#include <utility>

namespace parley::app {
namespace {

constexpr std::size_t tenants_per_page = 100;
constexpr std::size_t job_id_bytes = 8;

using opened_tenants = boost::system::result<std::unique_ptr<tenant_access>, refusal>;

// --- through the node

class node_tenants final : public tenant_access {
 public:
  explicit node_tenants(admin_api api) : api_(std::move(api)) {}

  answer create(const std::string& name, const shown_json& tenant_config) override {
    nlohmann::json body{{"name", name}};
    if (!tenant_config.empty()) body["config"] = tenant_config;
    return ask("POST", all, body);
  }

  answer list() override {
    auto tenants = shown_json::array();
    const auto read = api_.each_page(
        std::string{all} + "?limit=" + std::to_string(tenants_per_page),
        [&](const shown_json& page) {
          for (const auto& tenant : page.value("tenants", shown_json::array()))
            tenants.push_back(tenant);
        },
        otherwise);
    if (!read) return read;
    return told{{{"tenants", std::move(tenants)}}};
  }

  answer get(const std::string& tenant) override { return ask("GET", path_of(tenant)); }
  answer set_disabled(const std::string& tenant, bool disabled) override {
    return ask("PATCH", path_of(tenant), {{"disabled", disabled}});
  }
  answer remove(const std::string& tenant) override { return ask("DELETE", path_of(tenant)); }
  answer add_key(const std::string& tenant, const std::string& kind) override {
    return ask("POST", path_of(tenant) + "/keys", {{"kind", kind}});
  }
  answer delete_key(const std::string& tenant, const std::string& key) override {
    return ask("DELETE", path_of(tenant) + "/keys/" + path_segment(key));
  }
  boost::system::result<void, refusal> close() override { return {}; }

 private:
  static constexpr std::string_view all = "/v1/admin/tenants";
  static constexpr std::string_view otherwise =
      "--url or PARLEY_URL names another node; without a running one, --database FILE opens the "
      "database";
  static std::string path_of(const std::string& tenant) {
    return std::string{all} + "/" + path_segment(tenant);
  }
  answer ask(std::string_view method, std::string_view path, const nlohmann::json& body = nullptr) {
    return api_.ask(method, path, body, otherwise);
  }

  admin_api api_;
};

// --- in the database

template <class T>
boost::system::result<T, refusal> translated(const store::write_result<T>& written) {
  if (!written) {
    auto failure = written.error().why;
    if (written.error().scope == store::failure_scope::full ||
        written.error().scope == store::failure_scope::fatal) {
      failure.code = error_code::unavailable;
    }
    return refused(failure);
  }
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return *written;
  }
}

result<std::unique_ptr<store::database>> open_database(const config& c) {
  store::sqlite_options options;
  options.file = c.database_file();
  options.durability = c.durability;
  options.idempotency_ttl = c.limits.idempotency_ttl;
  return store::open_sqlite(options, system_clock_source(), system_random());
}

/// Before it is opened: opening makes what is not there.
std::optional<refusal> no_database(const config& c) {
  std::error_code code;
  if (std::filesystem::is_regular_file(c.database_file(), code)) return std::nullopt;
  return refusal{exit_status::io_error, "there is no database " + c.database_file().string()};
}

/// What opens the secrets. `make`: of a new database; an old one's must be there.
result<secret_key> sealing_key_of(const config& c, bool make) {
  if (!c.secret_key.empty()) return parse_secret_key(c.secret_key);
  std::error_code code;
  if (!make && !std::filesystem::is_regular_file(c.data_dir / "secret_key", code)) {
    return error{
        error_code::unavailable,
        "there is no secret_key in " + c.data_dir.string() +
            ", which opens the database's secrets (--data-dir, or PARLEY_SECRET_KEY_FILE)"};
  }
  const auto loaded = load_secret_key(c.data_dir, system_random());
  if (!loaded) return loaded.error();
  return loaded->key;
}

class database_tenants final : public tenant_access {
 public:
  database_tenants(std::unique_ptr<store::database> database, const config& c, bool make)
      : database_(std::move(database)),
        config_(c),
        make_(make) {}

  answer create(const std::string& name, const shown_json& tenant_config) override {
    const auto key = sealing_key_of(config_, make_);
    if (!key) return refused(key.error());
    const auto fresh = actors::make_tenant(name, tenant_config.dump(), *key, now(), system_random());
    const auto made = in_transaction([&](auto& writer) { return writer.create_tenant(fresh.row); });
    if (!made) return made.error();
    return told{actors::shown_once(fresh)};
  }

  answer list() override {
    auto tenants = shown_json::array();
    const auto reader = database_->new_reader();
    if (!reader) return refused(reader.error());
    std::string cursor;
    do {
      const auto page = (*reader)->tenants(tenants_per_page, cursor);
      if (!page) return refused(page.error());
      for (const auto& row : page->tenants) tenants.push_back(actors::shown(row));
      cursor = page->next_cursor;
    } while (!cursor.empty());
    return told{{{"tenants", std::move(tenants)}}};
  }

  answer get(const std::string& tenant) override {
    const auto reader = database_->new_reader();
    if (!reader) return refused(reader.error());
    const auto row = (*reader)->tenant(tenant_id{tenant});
    if (!row) return refused(row.error());
    if (!*row || (*row)->deleted) return refused(not_found("tenant"));
    return told{actors::shown(**row)};
  }

  answer set_disabled(const std::string& tenant, bool disabled) override {
    store::tenant_change::update update;
    update.disabled = disabled;
    return changed(tenant, std::move(update));
  }

  answer remove(const std::string& tenant) override {
    const auto job = "job_" + make_hex(job_id_bytes, system_random());
    const auto done = changed(tenant, store::tenant_change::remove{job});
    if (!done) return done;
    return told{{{"job_id", job}}};
  }

  answer add_key(const std::string& tenant, const std::string& kind) override {
    secret_key key{};
    if (kind != "api_key") {  // the only one that is not sealed
      const auto loaded = sealing_key_of(config_, make_);
      if (!loaded) return refused(loaded.error());
      key = *loaded;
    }
    auto fresh = actors::make_credential(kind, tenant_id{tenant}, key, system_random());
    shown_json shown{
        {"key_id", fresh.row.id.value}, {"kind", fresh.row.kind}, {"secret", fresh.secret}};
    const auto done = changed(tenant, store::tenant_change::add_credential{std::move(fresh.row)});
    if (!done) return done;
    return told{std::move(shown)};
  }

  answer delete_key(const std::string& tenant, const std::string& key) override {
    const auto done = changed(tenant, store::tenant_change::delete_credential{key_id{key}});
    if (!done) return done;
    return told{shown_json::object()};
  }

  boost::system::result<void, refusal> close() override {
    return translated(database_->writer().close_clean());
  }

 private:
  static utc_time now() { return system_clock_source().now(); }

  template <class F>
  auto in_transaction(F&& write) -> decltype(translated(write(std::declval<store::writer&>()))) {
    auto& writer = database_->writer();
    if (const auto begun = translated(writer.begin()); !begun) return begun.error();
    auto written = translated(write(writer));
    if (!written) {
      writer.rollback();
      return written;
    }
    if (const auto committed = translated(writer.commit()); !committed) return committed.error();
    return written;
  }

  template <class What>
  answer changed(const std::string& tenant, What what) {
    const store::tenant_change change{tenant_id{tenant}, std::move(what), now()};
    const auto row = in_transaction([&](auto& writer) { return writer.change_tenant(change); });
    if (!row) return row.error();
    return told{actors::shown(*row)};
  }

  std::unique_ptr<store::database> database_;
  config config_;
  bool make_;
};

}  // namespace

bool names_database(const config_arguments& a) {
  return !(a.database.empty() && a.file.empty() && a.data_dir.empty());
}

std::optional<loaded_config> load_for_database(const config_arguments& a, std::ostream& err) {
  auto loaded = load_or_report(inputs_from(a, false), err);
  // `--database FILE` alone: what belongs to the database lies beside it.
  if (loaded && !a.database.empty() && !loaded->was_given("data_dir")) {
    loaded->values.data_dir = loaded->values.database_file().parent_path();
  }
  return loaded;
}

opened_tenants tenants_of_node(const std::string& url, const config& c) {
  auto api = admin_api::of_node(url, c);
  if (!api) return api.error();
  return std::make_unique<node_tenants>(std::move(*api));
}

opened_tenants tenants_in_database(const config& c, bool make) {
  if (make) {
    ::umask(S_IRWXG | S_IRWXO);
    if (const auto made = make_data_dir(c.data_dir); !made) return refused(made.error());
    if (const auto made = make_data_dir(c.database_file().parent_path()); !made)
      return refused(made.error());
  } else if (auto missing = no_database(c)) {
    return std::move(*missing);
  }
  auto database = open_database(c);  // its lock says that no node runs here
  if (!database) {
    auto why = refused(database.error());
    if (database.error().code == error_code::conflict)
      why.text += " (if a node runs on it, ask the node: --url http://host:port)";
    return why;
  }
  return std::make_unique<database_tenants>(std::move(*database), c, make);
}

boost::system::result<sealed_tenant, refusal> read_tenant(const config& c,
                                                          const std::variant<tenant_id, key_id>& name) {
  if (auto missing = no_database(c)) return std::move(*missing);
  const auto key = sealing_key_of(c, false);
  if (!key) return refused(key.error());
  const auto database = open_database(c);
  if (!database) return refused(database.error());
  sealed_tenant found;
  found.key = *key;
  {
    const auto reader = (*database)->new_reader();
    if (!reader) return refused(reader.error());
    const auto* by_id = std::get_if<tenant_id>(&name);
    auto row = by_id != nullptr ? (*reader)->tenant(*by_id)
                                : (*reader)->tenant_by_key(std::get<key_id>(name));
    if (!row) return refused(row.error());
    if (!*row || (*row)->deleted) return refused(not_found("tenant"));
    found.row = std::move(**row);
  }
  if (const auto closed = translated((*database)->writer().close_clean()); !closed)
    return closed.error();
  return found;
}

}  // namespace parley::app
