// `parley webhook …`: the tenants' endpoints, as the running node knows them.

#include "app/admin_api.hpp"
#include "app/commands.hpp"

#include <nlohmann/json.hpp>

#include <iomanip>
#include <ostream>
#include <utility>

namespace parley::app {
namespace {

constexpr std::string_view no_node =
    "webhooks are told by the running node: start it, or name another with --url or PARLEY_URL";
constexpr int webhooks_per_page = 100;
constexpr int dead_letters_per_page = 1000;

std::string path_of(const std::string& tenant, std::string_view rest) {
  return "/v1/admin/tenants/" + path_segment(tenant) + "/webhook" + std::string{rest};
}

/// Calls `show(body)` with what `ask(api)` was told; its status, or that of what went wrong.
template <class Ask, class Show>
exit_status with_node(const webhook_arguments& a, std::ostream& err, Ask&& ask, Show&& show) {
  const auto loaded = load_or_report(inputs_from(a.config, false), err);
  if (!loaded) return exit_status::usage;
  const auto api = admin_api::of_node(a.url, loaded->values);
  if (!api) return tell(err, api.error());
  const answer said = ask(*api);
  if (!said) return tell(err, said.error());
  return show(said->body);
}

std::string text_of(const shown_json& object, const char* key) {
  const auto& value = object.at(key);
  return value.is_string() ? value.get<std::string>() : value.is_null() ? "" : value.dump();
}

void print_table(const shown_json& webhooks, std::ostream& out) {
  constexpr int tenant_width = 24;
  constexpr int number_width = 10;
  const auto row = [&](const std::string& tenant, const std::string& state, const std::string& queued,
                       const std::string& delivered, const std::string& given_up,
                       const std::string& dropped, const std::string& url) {
    out << std::left << std::setw(tenant_width) << tenant << " " << std::setw(number_width) << state
        << std::right;
    for (const auto& number : {queued, delivered, given_up, dropped})
      out << std::setw(number_width) << number;
    out << "  " << url << "\n";
  };
  row("TENANT", "STATE", "QUEUED", "DELIVERED", "GIVEN UP", "DROPPED", "URL");
  for (const auto& w : webhooks) {
    row(text_of(w, "tenant_id"), text_of(w, "state"), text_of(w, "queued"), text_of(w, "delivered"),
        text_of(w, "given_up"), text_of(w, "dropped"), text_of(w, "url"));
    for (const char* key : {"why", "last_error"}) {
      if (const auto text = text_of(w, key); !text.empty()) out << "  " << text << "\n";
    }
  }
}

}  // namespace

exit_status run_webhook_list(const webhook_arguments& a, std::ostream& out, std::ostream& err) {
  auto webhooks = shown_json::array();
  return with_node(
      a, err,
      [&](const admin_api& api) {
        return api.each_page(
            "/v1/admin/webhooks?limit=" + std::to_string(webhooks_per_page),
            [&](const shown_json& page) {
              for (const auto& w : page.value("webhooks", shown_json::array()))
                webhooks.push_back(w);
            },
            no_node);
      },
      [&](const shown_json&) {
        if (a.json) {
          out << as_text({{"webhooks", webhooks}});
        } else {
          print_table(webhooks, out);
        }
        return exit_status::ok;
      });
}

exit_status run_webhook_test(const webhook_arguments& a, std::ostream& out, std::ostream& err) {
  return with_node(
      a, err,
      [&](const admin_api& api) {
        return api.ask("POST", path_of(a.tenant, "/test"), nullptr, no_node);
      },
      [&](const shown_json& report) {
        const bool delivered = report.value("delivered", false);
        if (a.json) {
          out << as_text(report);
        } else {
          const auto status = text_of(report, "status");
          const auto what = text_of(report, "url") + " after " + text_of(report, "took_ms") +
                            " ms" + (status.empty() ? "" : ", status " + status);
          if (delivered) {
            out << "delivered to " << what << " (" << text_of(report, "event_id") << ")\n";
          } else {
            err << "parley: not delivered to " << what << ": " << text_of(report, "error") << "\n";
          }
        }
        return delivered ? exit_status::ok : exit_status::failure;
      });
}

exit_status run_webhook_replay(const webhook_arguments& a, std::ostream& out, std::ostream& err) {
  if (a.since.empty() == !a.dead_letters) {
    err << "parley: replay: --since TIME or --dead-letters, and not both\n";
    return exit_status::usage;
  }
  nlohmann::json body = nlohmann::json::object();
  if (a.dead_letters) body["dead_letters"] = true;
  if (!a.since.empty()) body["since"] = a.since;
  if (!a.until.empty()) body["until"] = a.until;
  return with_node(
      a, err,
      [&](const admin_api& api) {
        return api.ask("POST", path_of(a.tenant, "/replay"), body, no_node);
      },
      [&](const shown_json& endpoint) {
        if (a.json) {
          out << as_text(endpoint);
        } else {
          out << "replaying to " << text_of(endpoint, "url") << "; " << text_of(endpoint, "queued")
              << " events wait now. `parley webhook list` shows how far it is.\n";
        }
        return exit_status::ok;
      });
}

exit_status run_webhook_dead_letters(const webhook_arguments& a, std::ostream& out,
                                     std::ostream& err) {
  shown_json all{{"failed_messages", shown_json::array()},
                 {"failed_webhooks", shown_json::array()},
                 {"failed_notifications", shown_json::array()}};
  return with_node(
      a, err,
      [&](const admin_api& api) {
        return api.each_page(
            "/v1/admin/dead-letters?tenant_id=" + path_segment(a.tenant) +
                "&limit=" + std::to_string(dead_letters_per_page),
            [&](const shown_json& page) {
              for (auto& [name, list] : all.items())
                for (const auto& letter : page.value(name, shown_json::array()))
                  list.push_back(letter);
            },
            no_node);
      },
      [&](const shown_json&) {
        out << as_text(all);
        return exit_status::ok;
      });
}

}  // namespace parley::app
