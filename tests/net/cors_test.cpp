#include "net/cors.hpp"

#include "net/auth.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <utility>

using namespace parley;
using namespace parley::net;

namespace {

http_request from(const std::string& origin, const std::string& host = "node.example:8080") {
  http_request r;
  r.method = "GET";
  r.headers = {{"host", host}, {"origin", origin}};
  return r;
}
http_request from_no_browser() {
  http_request r;
  r.method = "GET";
  r.headers = {{"host", "node.example"}};
  return r;
}
http_request preflight_from(const std::string& origin) {
  auto r = from(origin);
  r.method = "OPTIONS";
  r.headers.emplace_back("access-control-request-method", "POST");
  return r;
}

std::map<std::string, std::string> as_map(const header_list& headers) {
  std::map<std::string, std::string> out;
  for (const auto& [name, value] : headers) CHECK(out.emplace(name, value).second);
  return out;
}

const std::string page = "https://chat.example";

}  // namespace

TEST_SUITE("SPEC 3 Origin") {
  TEST_CASE("the node's own host, as Host says it") {
    struct row {
      std::string origin;
      std::string host;
      bool own;
    };
    for (const auto& r : {
             row{"http://node.example", "node.example", true},
             row{"https://node.example", "node.example", true},  // TLS ends at a proxy
             row{"http://node.example:8080", "node.example:8080", true},
             row{"https://node.example", "Node.Example", true},
             row{"https://node.example", "node.example:443", true},
             row{"http://node.example", "node.example:80", true},
             row{"http://[::1]:8080", "[::1]:8080", true},
             row{"http://node.example", "node.example:443", false},
             row{"http://node.example:8080", "node.example", false},
             row{"http://node.example", "node.example:8080", false},
             row{"http://evil.example", "node.example", false},
             row{"http://node.example.evil", "node.example", false},
             row{"http://evilnode.example", "node.example", false},
             row{"http://evil.example/node.example", "node.example", false},
             row{"http://node.example@evil.example", "node.example", false},
             row{"node.example", "node.example", false},
             row{"null", "node.example", false},
             row{"http://", "", false},
         }) {
      CAPTURE(r.origin);
      CAPTURE(r.host);
      CHECK(is_own_origin(from(r.origin, r.host)) == r.own);
    }
  }

  TEST_CASE("an origin is listed as a whole") {
    const origin_list list{page, "http://localhost:3000"};
    CHECK(lists_origin(list, page));
    CHECK(lists_origin(list, "http://localhost:3000"));
    for (const auto* other :
         {"http://chat.example", "https://chat.example:443", "https://chat.example/",
          "https://chat.exampl", "https://chat.example.evil", "https://sub.chat.example",
          "HTTPS://CHAT.EXAMPLE", "null", "*", ""}) {
      CAPTURE(other);
      CHECK_FALSE(lists_origin(list, other));
    }
    CHECK(lists_origin({"*"}, "https://anything"));
    CHECK_FALSE(lists_origin({}, page));
  }

  TEST_CASE("before the tenant is known: own host, the node's list, any tenant's list") {
    tenant_origins any;
    CHECK(origin_may_ask(from_no_browser(), {}, any));
    CHECK(origin_may_ask(from("http://node.example:8080"), {}, any));
    CHECK_FALSE(origin_may_ask(from(page), {}, any));
    CHECK(origin_may_ask(from(page), {page}, any));
    CHECK(origin_may_ask(from(page), {"*"}, any));

    any.set(tenant_no{1}, origin_list{page});
    any.set(tenant_no{2}, origin_list{page, "https://two.example"});
    CHECK(origin_may_ask(from(page), {}, any));
    CHECK(origin_may_ask(from("https://two.example"), {}, any));
    CHECK_FALSE(origin_may_ask(from("https://three.example"), {}, any));

    any.set(tenant_no{1}, std::nullopt);
    CHECK(origin_may_ask(from(page), {}, any));  // the second lists it still
    any.set(tenant_no{2}, origin_list{"https://three.example"});
    CHECK_FALSE(origin_may_ask(from(page), {}, any));
    CHECK_FALSE(origin_may_ask(from("https://two.example"), {}, any));
    CHECK(origin_may_ask(from("https://three.example"), {}, any));
    any.set(tenant_no{2}, origin_list{"*"});
    CHECK(origin_may_ask(from(page), {}, any));
    any.set(tenant_no{2}, origin_list{});
    any.set(tenant_no{2}, origin_list{});
    CHECK_FALSE(origin_may_ask(from(page), {}, any));
  }

  TEST_CASE("a list that names an origin twice forgets it once") {
    tenant_origins any;
    any.set(tenant_no{1}, origin_list{page, page});
    any.set(tenant_no{1}, origin_list{page});
    CHECK(any.contains(page));
    any.set(tenant_no{1}, std::nullopt);
    CHECK_FALSE(any.contains(page));
  }

  TEST_CASE("once it is known its own list replaces the node's") {
    const origin_list node{"https://node-list.example"};
    using own = std::optional<origin_list>;
    CHECK(origin_may_ask(from("https://node-list.example"), node, own{}));
    CHECK_FALSE(origin_may_ask(from("https://node-list.example"), node, own{origin_list{page}}));
    CHECK(origin_may_ask(from(page), node, own{origin_list{page}}));
    CHECK_FALSE(origin_may_ask(from(page), node, own{origin_list{}}));
    CHECK(origin_may_ask(from(page), node, own{origin_list{"*"}}));
    CHECK(origin_may_ask(from("http://node.example:8080"), node, own{origin_list{}}));
    CHECK(origin_may_ask(from_no_browser(), node, own{origin_list{}}));
  }

  TEST_CASE("two origins, or one that no browser sends, are refused even where all are allowed") {
    auto twice = from(page);
    twice.headers.emplace_back("origin", page);
    CHECK_FALSE(origin_may_ask(twice, {"*"}, std::nullopt));
    CHECK_FALSE(origin_may_ask(from(""), {"*"}, std::nullopt));
    CHECK_FALSE(origin_may_ask(from("https://a b"), {"*"}, std::nullopt));
    CHECK_FALSE(origin_may_ask(from("https://\xc3\xa4"), {"*"}, std::nullopt));
    CHECK(origin_may_ask(from("null"), {"*"}, std::nullopt));
    CHECK_FALSE(origin_may_ask(from("null"), {page}, std::nullopt));
    CHECK(origin_of(twice).empty());
    CHECK(cors_headers(twice, true) == header_list{{"Vary", "Origin"}});
  }
}

TEST_SUITE("SPEC 3 CORS on REST") {
  TEST_CASE("an allowed page may read the answer and the headers that say how it went") {
    const auto headers = as_map(cors_headers(from(page), true));
    CHECK(headers.at("Access-Control-Allow-Origin") == page);
    CHECK(headers.at("Vary") == "Origin");
    CHECK(headers.at("Access-Control-Expose-Headers") ==
          "X-Request-Id, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, "
          "Idempotent-Replayed");
    CHECK(headers.size() == 3);  // no Access-Control-Allow-Credentials: there are no cookies
  }

  TEST_CASE("another page learns nothing, and a cache keeps the two apart") {
    CHECK(cors_headers(from(page), false) == header_list{{"Vary", "Origin"}});
    CHECK(cors_headers(from_no_browser(), true).empty());
  }

  TEST_CASE("what a preflight is") {
    CHECK(is_preflight(preflight_from(page)));
    auto plain = preflight_from(page);
    plain.headers.pop_back();
    CHECK_FALSE(is_preflight(plain));
    auto get = preflight_from(page);
    get.method = "GET";
    CHECK_FALSE(is_preflight(get));
    auto no_origin = preflight_from(page);
    std::erase_if(no_origin.headers, [](const auto& h) { return h.first == "origin"; });
    CHECK_FALSE(is_preflight(no_origin));
  }

  TEST_CASE("a preflight of an allowed page is told the path's methods and our headers") {
    const auto headers =
        as_map(preflight_headers(preflight_from(page), true, "GET, HEAD, POST, OPTIONS"));
    CHECK(headers.at("Access-Control-Allow-Origin") == page);
    CHECK(headers.at("Access-Control-Allow-Methods") == "GET, HEAD, POST, OPTIONS");
    CHECK(headers.at("Access-Control-Allow-Headers") ==
          "Content-Type, Authorization, X-API-Key, X-User-Id, X-Request-Id, Idempotency-Key");
    CHECK(headers.at("Access-Control-Max-Age") == "600");
    CHECK(headers.at("Vary") ==
          "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    CHECK(headers.size() == 5);
  }

  TEST_CASE("a preflight of another page is told nothing") {
    const auto headers = as_map(preflight_headers(preflight_from(page), false, "GET"));
    CHECK(headers.size() == 1);
    CHECK(headers.contains("Vary"));
  }

  TEST_CASE("the operator's key is never for a page") {
    const auto headers = as_map(preflight_headers(preflight_from(page), true, "GET"));
    CHECK(headers.at("Access-Control-Allow-Headers").find("Master") == std::string::npos);
  }
}
