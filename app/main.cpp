// The program: takes the command line apart and calls a command (commands.hpp).

#include "app/commands.hpp"

#include <CLI/CLI.hpp>

#include <exception>
#include <iostream>
#include <utility>

namespace {

using namespace parley::app;

constexpr const char* about =
    "Parley, a multi-tenant chat node.\n\n"
    "Try it:    parley serve --dev\n"
    "Run it:    PARLEY_MASTER_API_KEY=... parley serve --config /etc/parley/parley.toml";

constexpr const char* serve_examples =
    "Examples:\n"
    "  parley serve --dev\n"
    "  parley serve --config /etc/parley/parley.toml\n"
    "  PARLEY_MASTER_API_KEY_FILE=/run/secrets/master parley serve --listen :8080 --data-dir "
    "/var/lib/parley\n"
    "  parley serve --dev --set user_send_rate=0 --set ws_frame_rate=0\n\n"
    "SIGTERM or SIGINT ends it gracefully, a second one at once; SIGHUP reads the configuration "
    "again.";

constexpr const char* verify_examples =
    "Also beside a running node. Status 0: clean, 1: problems, 74: it can't be read.\n\n"
    "Examples:\n"
    "  parley verify --database /var/lib/parley/parley.db\n"
    "  parley verify --config /etc/parley/parley.toml --json";

constexpr const char* tenant_examples =
    "While a node runs, its admin API is asked: --url, PARLEY_URL, or the configured address on "
    "this machine, with\n"
    "PARLEY_MASTER_API_KEY. Without a running node, --database, --config or --data-dir open the "
    "database itself.\n\n"
    "Examples:\n"
    "  PARLEY_MASTER_API_KEY=... parley tenant create acme\n"
    "  parley tenant list --url http://chat1:8080\n"
    "  parley tenant create acme --database /var/lib/parley/parley.db\n"
    "  parley tenant rotate-key tenant_0123456789abcdef --kind jwt_secret\n"
    "  parley tenant disable tenant_0123456789abcdef";

constexpr const char* token_examples =
    "End users' tokens (JWT, HS256). The secret is the tenant's jwt_secret, as it was shown: "
    "PARLEY_JWT_SECRET,\n"
    "PARLEY_JWT_SECRET_FILE or --secret-file (--secret can be seen by other users of the machine). "
    "While no node\n"
    "runs, --database, --config or --data-dir take it from the database.\n\n"
    "Examples:\n"
    "  PARLEY_JWT_SECRET=jwts_... parley token mint --tenant tenant_0123456789abcdef --user ann "
    "--ttl 15m\n"
    "  parley token mint --tenant tenant_0123456789abcdef --user ann --database "
    "/var/lib/parley/parley.db\n"
    "  parley token check eyJ... --secret-file jwt_secret";

constexpr const char* webhook_examples =
    "Asks a running node: --url, PARLEY_URL, or the configured address on this machine, with "
    "PARLEY_MASTER_API_KEY.\n"
    "A tenant's endpoint is its webhook_url (docs/webhooks.md).\n\n"
    "Examples:\n"
    "  parley webhook list\n"
    "  parley webhook test tenant_0123456789abcdef\n"
    "  parley webhook replay tenant_0123456789abcdef --since 2026-01-31T12:00:00Z --until "
    "2026-01-31T13:00:00Z\n"
    "  parley webhook dead-letters tenant_0123456789abcdef\n"
    "  parley webhook replay tenant_0123456789abcdef --dead-letters";

constexpr const char* config_examples =
    "Examples:\n"
    "  parley config check --config /etc/parley/parley.toml\n"
    "  parley config print --limits\n"
    "  parley config print --defaults > parley.toml";

void add_config_options(CLI::App& command, config_arguments& arguments) {
  command.add_option("--config", arguments.file, "TOML file with flat keys")->type_name("FILE");
  command
      .add_option("--set", arguments.sets, "Set one key, above all other layers; may be repeated")
      ->type_name("KEY=VALUE")
      ->take_all()
      ->expected(1);
  command.add_option("--data-dir", arguments.data_dir, "The node's directory")->type_name("DIR");
}

void add_serve_options(CLI::App& command, config_arguments& arguments) {
  command.add_option("--listen", arguments.listen, "Address for REST and WebSocket, such as :8080")
      ->type_name("ADDRESS");
  command.add_option("--log-level", arguments.log_level, "debug, info, warn or error")
      ->type_name("LEVEL");
  command.add_option("--log-format", arguments.log_format, "json or text")->type_name("FORMAT");
}

void add_database_option(CLI::App& command, config_arguments& arguments) {
  command.add_option("--database", arguments.database, "The database's file")->type_name("FILE");
}

/// The commands and what they write into.
class command_line {
 public:
  command_line() : app_(about, "parley") {
    app_.require_subcommand(1);
    app_.failure_message(CLI::FailureMessage::simple);
    add_serve();
    add_tenant();
    add_token();
    add_webhook();
    add_verify();
    add_config();
    auto* version = app_.add_subcommand("version", "Print the version");
    version->add_flag("--json", version_json_, "As JSON, with what it was built with");
    version->callback([this] { status_ = run_version(version_json_, std::cout); });
    app_.set_help_all_flag("--help-all", "All commands with their options");
  }

  int run(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
      // Help is a success; everything else is a mistake in the command line, whatever number CLI11 has for it.
      return app_.exit(e) == 0 ? static_cast<int>(exit_status::ok)
                               : static_cast<int>(exit_status::usage);
    }
    return static_cast<int>(status_);
  }

 private:
  void add_serve() {
    auto* serve = app_.add_subcommand("serve", "Run a node");
    serve->footer(serve_examples);
    add_config_options(*serve, serve_.config);
    add_serve_options(*serve, serve_.config);
    serve->add_flag("--dev", serve_.dev,
                    "For trying things out: loopback only, a demo tenant, prints how to connect");
    serve->callback([this] { status_ = run_serve(serve_); });
  }

  void add_tenant() {
    auto* tenant = app_.add_subcommand("tenant", "Make and list tenants");
    tenant->require_subcommand(1);
    tenant->footer(tenant_examples);
    auto* create = tenant->add_subcommand("create", "Make a tenant; prints its secrets, once");
    create->add_option("name", tenant_.name, "Its name")->required();
    create->add_option("--tenant-config", tenant_.tenant_config, "Its configuration, a JSON object")
        ->type_name("JSON");
    create->callback([this] { status_ = run_tenant_create(tenant_, std::cout, std::cerr); });
    auto* list = tenant->add_subcommand("list", "List all tenants, without secrets");
    list->callback([this] { status_ = run_tenant_list(tenant_, std::cout, std::cerr); });
    auto* rotate = tenant->add_subcommand("rotate-key",
                                          "Add a second key or secret of a kind; prints it, once");
    rotate->add_option("--kind", tenant_.kind, "api_key (default), jwt_secret or webhook_secret")
        ->type_name("KIND");
    rotate->callback([this] { status_ = run_tenant_rotate_key(tenant_, std::cout, std::cerr); });
    auto* delete_key = tenant->add_subcommand(
        "delete-key", "Delete a key or secret; closes the connections made with it");
    delete_key->callback([this] { status_ = run_tenant_delete_key(tenant_, std::cout, std::cerr); });
    auto* disable = tenant->add_subcommand(
        "disable", "Refuse all credentials of a tenant and close its connections");
    disable->callback(
        [this] { status_ = run_tenant_set_disabled(tenant_, true, std::cout, std::cerr); });
    auto* enable = tenant->add_subcommand("enable", "Undo a disable");
    enable->callback(
        [this] { status_ = run_tenant_set_disabled(tenant_, false, std::cout, std::cerr); });
    auto* remove = tenant->add_subcommand("delete", "Delete a tenant and all it has, for ever");
    remove->callback([this] { status_ = run_tenant_delete(tenant_, std::cout, std::cerr); });
    for (auto* command : {rotate, delete_key, disable, enable, remove})
      command->add_option("tenant", tenant_.tenant, "Its id")->required();
    delete_key->add_option("key", tenant_.key, "The key's id")->required();
    for (auto* command : {create, list, rotate, delete_key, disable, enable, remove}) {
      command->footer(tenant_examples);
      command->add_option("--url", tenant_.url, "The node to ask, http://host:port")
          ->type_name("URL");
      add_config_options(*command, tenant_.config);
      add_database_option(*command, tenant_.config);
    }
  }

  void add_token() {
    auto* token = app_.add_subcommand("token", "Make and check end users' tokens");
    token->require_subcommand(1);
    token->footer(token_examples);
    auto* mint = token->add_subcommand("mint", "Print a new token");
    mint->add_option("--tenant", token_.tenant, "The tenant's id")->required()->type_name("ID");
    mint->add_option("--user", token_.user, "Whose it is")->required()->type_name("ID");
    mint->add_option("--ttl", token_.ttl, "How long it is good (1h)")->type_name("DURATION");
    mint->callback([this] { status_ = run_token_mint(token_, std::cout, std::cerr); });
    auto* check = token->add_subcommand(
        "check", "Say whether a token is good, or which rule it breaks; status 1 when it is not");
    check->add_option("token", token_.token, "The token")->required();
    check->add_option("--tenant", token_.tenant, "Whose secret it is")->type_name("ID");
    check->callback([this] { status_ = run_token_check(token_, std::cout, std::cerr); });
    for (auto* command : {mint, check}) {
      command->footer(token_examples);
      command->add_option("--audience", token_.audience, "The claim `aud`, or what it must hold")
          ->type_name("TEXT");
      command->add_option("--key", token_.key, "The key id of the secret")->type_name("ID");
      command->add_option("--secret-file", token_.secret_file, "A file with the jwt_secret")
          ->type_name("FILE");
      command->add_option("--secret", token_.secret, "The jwt_secret itself")->type_name("SECRET");
      add_config_options(*command, token_.config);
      add_database_option(*command, token_.config);
    }
  }

  void add_webhook() {
    auto* webhook = app_.add_subcommand("webhook", "See, try and repeat tenants' webhooks");
    webhook->require_subcommand(1);
    webhook->footer(webhook_examples);
    auto* list = webhook->add_subcommand("list", "All endpoints, with what waits and what failed");
    list->callback([this] { status_ = run_webhook_list(webhook_, std::cout, std::cerr); });
    auto* test = webhook->add_subcommand(
        "test", "Send one webhook.test event now; status 1 when it is not taken");
    test->callback([this] { status_ = run_webhook_test(webhook_, std::cout, std::cerr); });
    auto* replay = webhook->add_subcommand(
        "replay", "Tell the events of a time again, or those that were given up");
    auto* since = replay->add_option("--since", webhook_.since, "From then on, RFC 3339");
    since->type_name("TIME");
    replay->add_option("--until", webhook_.until, "Up to then; without it up to now")
        ->type_name("TIME")
        ->needs(since);
    replay->add_flag("--dead-letters", webhook_.dead_letters, "What was given up")->excludes(since);
    replay->callback([this] { status_ = run_webhook_replay(webhook_, std::cout, std::cerr); });
    auto* dead_letters =
        webhook->add_subcommand("dead-letters", "List what was given up, as JSON, newest first");
    dead_letters->callback(
        [this] { status_ = run_webhook_dead_letters(webhook_, std::cout, std::cerr); });
    for (auto* command : {test, replay, dead_letters})
      command->add_option("tenant", webhook_.tenant, "Its id")->required();
    for (auto* command : {list, test, replay})
      command->add_flag("--json", webhook_.json, "As JSON");
    for (auto* command : {list, test, replay, dead_letters}) {
      command->footer(webhook_examples);
      command->add_option("--url", webhook_.url, "The node to ask, http://host:port")
          ->type_name("URL");
      add_config_options(*command, webhook_.config);
    }
  }

  void add_verify() {
    auto* verify = app_.add_subcommand(
        "verify", "Check a database: order, index, keys, cursors, commit chain");
    verify->footer(verify_examples);
    add_config_options(*verify, verify_.config);
    add_database_option(*verify, verify_.config);
    verify->add_flag("--json", verify_.json, "The report as JSON");
    verify->callback([this] { status_ = run_verify(verify_, std::cout, std::cerr); });
  }

  void add_config() {
    auto* config = app_.add_subcommand("config", "Check and print the configuration");
    config->require_subcommand(1);
    config->footer(config_examples);
    auto* check = config->add_subcommand(
        "check", "Report everything that is wrong; status 2 when something is");
    add_config_options(*check, check_.config);
    add_serve_options(*check, check_.config);
    check->add_flag("--dev", check_.dev, "As for serve --dev");
    check->callback([this] { status_ = run_config_check(check_, std::cout, std::cerr); });
    auto* print = config->add_subcommand("print", "Print what is in force, without secrets");
    add_config_options(*print, print_.config);
    add_serve_options(*print, print_.config);
    print->add_flag("--dev", print_.dev, "As for serve --dev");
    print->add_flag("--limits", print_.limits, "The most memory that the limits allow");
    print->add_flag("--defaults", print_.defaults,
                    "A documented file with every key and its default");
    print->add_flag("--markdown", print_.markdown, "The tables of docs/configuration.md");
    print->callback([this] { status_ = run_config_print(print_, std::cout, std::cerr); });
    for (auto* command : {check, print}) command->footer(config_examples);
  }

  CLI::App app_;
  exit_status status_ = exit_status::ok;
  serve_arguments serve_;
  tenant_arguments tenant_;
  token_arguments token_;
  webhook_arguments webhook_;
  verify_arguments verify_;
  config_check_arguments check_;
  config_print_arguments print_;
  bool version_json_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  try {
    return command_line{}.run(argc, argv);
  } catch (const std::exception& e) {
    std::cerr << "parley: " << e.what() << "\n";
    return static_cast<int>(exit_status::failure);
  }
}
