#include "tests/support/running_node.hpp"

#include "tests/support/await.hpp"

#include <csignal>
#include <stdexcept>
#include <utility>

namespace parley::tests {
namespace {

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

}  // namespace

node_setup without_rate_limits(node_setup setup) {
  for (const char* key : {"user_send_rate", "default_rate_limit", "default_message_rate",
                          "ws_frame_rate", "ws_connect_rate", "auth_failure_rate"}) {
    setup.config.emplace(key, "0");
  }
  return setup;
}

running_node::running_node(node_setup setup) : setup_(std::move(setup)) {
  if (setup_.data_dir.empty()) {
    own_dir_.emplace();
    data_dir_ = own_dir_->path() / "data";
  } else {
    data_dir_ = setup_.data_dir;
  }
  start();
}

void running_node::launch() {
  process_options options;
  options.command = setup_.under;
  options.command.insert(options.command.end(), {parley_binary(), "serve"});
  options.command.insert(options.command.end(), setup_.arguments.begin(), setup_.arguments.end());
  std::map<std::string, std::string> config{{"listen_addr", "127.0.0.1:0"},
                                            {"data_dir", data_dir_.string()},
                                            {"log_format", "json"},
                                            {"drain_delay", "0s"},
                                            {"herd_window", "0s"}};
  for (const auto& [key, value] : setup_.config) config[key] = value;
  for (const auto& [key, value] : config) {
    options.command.emplace_back("--set");
    options.command.push_back(key + "=" + value);
  }
  options.env = setup_.env;
  options.env.emplace("PARLEY_MASTER_API_KEY", master_key_);
  process_.emplace(options);
}

void running_node::start() {
  launch();
  nlohmann::json listening;
  const bool answered = await(setup_.start_within, [&] {
    for (const auto& line : log()) {
      if (line.value("msg", "") == "listening") listening = line;
    }
    return !listening.is_null() || !process_->is_running();
  });
  if (listening.is_null()) {
    const auto said = joined(process_->stderr_lines());
    throw std::runtime_error{
        (answered ? "the node ended instead of listening:\n" : "the node does not listen:\n") + said};
  }
  address_ = listening.at("address").get<std::string>();
}

std::vector<nlohmann::json> running_node::log() const {
  std::vector<nlohmann::json> all;
  for (const auto& line : process_->stderr_lines()) {
    auto value = nlohmann::json::parse(line, nullptr, false);
    if (value.is_object()) all.push_back(std::move(value));
  }
  return all;
}

nlohmann::json running_node::await_log(std::string_view message, std::chrono::milliseconds within) {
  nlohmann::json found;
  const bool came = await(within, [&] {
    for (const auto& line : log()) {
      if (line.value("msg", "") != message) continue;
      found = line;
      return true;
    }
    return false;
  });
  if (!came) {
    throw deadline_passed{"the node did not log «" + std::string{message} + "»; it said:\n" +
                          joined(process_->stderr_lines())};
  }
  return found;
}

void running_node::kill9() {
  process_->signal(SIGKILL);
  process_->exit_status();
}

int running_node::terminate(std::chrono::milliseconds within) {
  process_->signal(SIGTERM);
  return process_->exit_status(within);
}

int running_node::await_exit(std::chrono::milliseconds within) {
  return process_->exit_status(within);
}

void running_node::restart() {
  if (process_->is_running()) terminate();
  start();
}

rest_client running_node::operator_client() const {
  return rest_client{address_, {{"X-Master-Key", master_key_}}};
}

rest_client running_node::backend(const test_tenant& tenant) const {
  return rest_client{address_, {{"X-API-Key", tenant.api_key}}};
}

rest_client running_node::user(const test_tenant& tenant, std::string_view user_id) const {
  return rest_client{address_, {{"X-API-Key", tenant.api_key}, {"X-User-Id", std::string{user_id}}}};
}

ws_client running_node::connect(const test_tenant& tenant, std::string_view user_id,
                                std::string_view query) const {
  ws_options options;
  options.headers = {{"X-API-Key", tenant.api_key}, {"X-User-Id", std::string{user_id}}};
  options.query = query;
  return ws_client{address_, options};
}

test_tenant running_node::create_tenant(std::string_view name, const nlohmann::json& config) {
  auto client = operator_client();
  nlohmann::json body{{"name", name}};
  if (!config.empty()) body["config"] = config;
  const auto reply = client.post("/v1/admin/tenants", body);
  if (reply.status != 201) {
    throw std::runtime_error{"no tenant was made: " + std::to_string(reply.status) + " " +
                             reply.body};
  }
  const auto made = reply.json();
  return {made.at("tenant_id"), made.at("api_key"), made.value("jwt_secret", ""),
          made.value("webhook_secret", "")};
}

}  // namespace parley::tests
