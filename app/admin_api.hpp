#pragma once
/// A running node's admin API as commands call it: with the operator's key, JSON in and out. What went wrong is told in a
/// text for people, with the status that the command ends with.

#include "app/commands.hpp"
#include "app/http_client.hpp"

#include <boost/system/result.hpp>
#include <nlohmann/json.hpp>

#include <iosfwd>
#include <string>
#include <string_view>

namespace parley::app {

/// Why a command ends without what was asked for: a text for people and the exit status.
struct refusal {
  exit_status status = exit_status::failure;
  std::string text;
};
using shown_json = nlohmann::ordered_json;
struct told {
  shown_json body;  ///< an object, or empty
};
using answer = boost::system::result<told, refusal>;

class admin_api {
 public:
  static constexpr std::string_view another_node = "--url or PARLEY_URL names another node";

  /// `url` empty: PARLEY_URL, else the configured address on this machine.
  static boost::system::result<admin_api, refusal> of_node(const std::string& url, const config& c);

  /// A status beyond 2xx is a refusal; 204 is an empty object. `no_answer`: what else to try when nobody answers.
  [[nodiscard]] answer ask(std::string_view method, std::string_view path,
                           const nlohmann::json& body = nullptr,
                           std::string_view no_answer = another_node) const;
  /// Every page of a list: calls `take(page)` for each. `path` has a query.
  template <class Take>
  [[nodiscard]] answer each_page(const std::string& path, Take&& take,
                                 std::string_view no_answer = another_node) const {
    std::string cursor;
    do {
      // A cursor is base64url: nothing to escape.
      auto page = ask("GET", cursor.empty() ? path : path + "&cursor=" + cursor, nullptr, no_answer);
      if (!page) return page;
      take(page->body);
      const auto next = page->body.find("next_cursor");
      cursor = next != page->body.end() && next->is_string() ? next->get<std::string>() : "";
    } while (!cursor.empty());
    return told{shown_json::object()};
  }

 private:
  admin_api(http_client client, std::string master_key);
  http_client client_;
  std::string master_key_;
};

/// One segment of a path, whatever it holds.
[[nodiscard]] std::string path_segment(std::string_view text);
/// Two-space JSON and a line feed.
[[nodiscard]] std::string as_text(const shown_json& value);
/// Reports it; its status.
exit_status tell(std::ostream& err, const refusal& why);
[[nodiscard]] refusal refused(const error& failure);

}  // namespace parley::app
