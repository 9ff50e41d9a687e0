#include "net/contract_text.hpp"
#include "net/routes.hpp"
#include "protocol/client_frame.hpp"
#include "protocol/close_codes.hpp"
#include "protocol/errors.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

using namespace parley;

namespace {

std::string file(const std::string& name) {
  const char* root = std::getenv("PARLEY_SOURCE_DIR");
  std::ifstream in(std::string{root != nullptr ? root : "."} + "/docs/" + name, std::ios::binary);
  REQUIRE_MESSAGE(in.good(), name);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::vector<std::string> lines(std::string_view text) {
  std::vector<std::string> out;
  std::istringstream in{std::string{text}};
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

struct documented {
  std::string caller;
  bool later = false;
};

/// «POST /rooms/{}» → what openapi.yaml says of it. The file is ours and indented as we like: no parser is needed.
std::map<std::string, documented> operations() {
  static const std::regex path{R"(  (/\S*):)"};
  static const std::regex method{R"(    (get|put|post|patch|delete):)"};
  static const std::regex caller{R"(      x-parley-caller: (\w+))"};
  static const std::regex parameter{R"(\{[a-z_]+\})"};
  std::map<std::string, documented> out;
  std::string at;
  documented* now = nullptr;
  bool in_paths = false;
  for (const auto& line : lines(net::openapi_yaml())) {
    std::smatch found;
    if (!line.empty() && line[0] != ' ') in_paths = line == "paths:";
    if (!in_paths) continue;
    if (std::regex_match(line, found, path)) {
      at = std::regex_replace(found[1].str(), parameter, "{}");
    } else if (std::regex_match(line, found, method)) {
      std::string name = found[1];
      for (auto& c : name) c = static_cast<char>(c - 'a' + 'A');
      now = &out[name + " " + at];
    } else if (std::regex_match(line, found, caller)) {
      REQUIRE(now != nullptr);
      now->caller = found[1];
    } else if (line == "      x-parley-status: later") {
      REQUIRE(now != nullptr);
      now->later = true;
    }
  }
  return out;
}

std::string name_of(net::who_may who) {
  switch (who) {
    case net::who_may::anyone:
      return "anyone";
    case net::who_may::operator_only:
      return "operator";
    case net::who_may::tenant:
      return "tenant";
    case net::who_may::user:
      return "user";
    case net::who_may::backend:
      return "backend";
    case net::who_may::api_key:
      return "api_key";
  }
  return {};
}

}  // namespace

TEST_SUITE("SPEC 4 the contract") {
  TEST_CASE("the node carries the documents of the tree") {
    CHECK(net::openapi_yaml() == file("openapi.yaml"));
    CHECK(net::asyncapi_yaml() == file("asyncapi.yaml"));
  }

  TEST_CASE(
      "every route is an operation, and every operation that is not marked as later is a route") {
    const auto said = operations();
    CHECK(said.size() > 30);
    static const std::regex parameter{R"(\{[a-z_]+\})"};
    std::set<std::string> served;
    for (const auto& route : net::routes()) {
      const auto name = std::string{route.method} + " " +
                        std::regex_replace(std::string{route.path}, parameter, "{}");
      CAPTURE(name);
      CHECK_MESSAGE(served.insert(name).second, "twice in the table");
      const auto it = said.find(name);
      CHECK_MESSAGE(it != said.end(), "a route that is not documented");
      if (it == said.end()) continue;
      CHECK_MESSAGE(!it->second.later, "marked as later, and served");
      CHECK(it->second.caller == name_of(route.who));
    }
    for (const auto& [name, operation] : said) {
      CAPTURE(name);
      CHECK_MESSAGE((operation.later || served.contains(name)), "documented, and no route");
    }
  }

  TEST_CASE("every error code is in the documents and has a page with its status") {
    const std::string openapi{net::openapi_yaml()};
    for (const auto& row : error_registry()) {
      const std::string code{row.text};
      CAPTURE(code);
      CHECK(openapi.find("\n        - " + code + "\n") != std::string::npos);
      const auto page = file("errors/" + code + ".md");
      CHECK(page.find("| HTTP status | " + std::to_string(row.http_status) + " |") !=
            std::string::npos);
      CHECK(page.find(std::string{"| retryable | "} + (row.retryable ? "yes" : "no") + " |") !=
            std::string::npos);
    }
  }

  TEST_CASE("SPEC 5 every close code is in the documents, and no other") {
    static const std::regex row{
        R"re(  - \{code: (\d+), reason: (""|[A-Z_]+), reconnect: (true|false), meaning: ".+"\})re"};
    std::map<int, std::pair<std::string, bool>> said;
    for (const auto& line : lines(net::asyncapi_yaml())) {
      std::smatch found;
      if (!std::regex_match(line, found, row)) continue;
      const auto reason = found[2] == "\"\"" ? std::string{} : found[2].str();
      said[std::stoi(found[1])] = {reason, found[3] == "true"};
    }
    for (const auto& known : close_registry()) {
      const int code = static_cast<int>(known.code);
      CAPTURE(code);
      REQUIRE(said.contains(code));
      CHECK(said[code].first == known.reason);
      CHECK(said[code].second == known.client_reconnects);
      said.erase(code);
    }
    CHECK(said.empty());
  }

  TEST_CASE("SPEC 5 every client frame of the documents is one that the node knows") {
    static const std::regex payload{R"(    ([a-z_.]+): \{name: .*)"};
    client_frame_parser parser{node_limits{}};
    int known = 0;
    bool from_clients = false;
    for (const auto& line : lines(net::asyncapi_yaml())) {
      if (line == "    # -- from clients") from_clients = true;
      if (line == "    # -- from the node") from_clients = false;
      std::smatch found;
      if (!from_clients || !std::regex_match(line, found, payload)) continue;
      const std::string type = found[1];
      CAPTURE(type);
      std::string text = R"({"type":")" + type + R"("})";
      const auto length = text.size();
      text.resize(length + client_frame_parser::padding_bytes);
      const auto parsed = parser.parse(std::string_view{text}.substr(0, length));
      const auto* rejected = std::get_if<rejected_frame>(&parsed);
      CHECK((rejected == nullptr || rejected->why.field != "type"));
      ++known;
    }
    CHECK(known == 15);
  }
}
