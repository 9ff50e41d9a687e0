#include "net/auth.hpp"

#include "net/http_target.hpp"
#include "net/jwt.hpp"
#include "protocol/base64url.hpp"
#include "tests/support/results.hpp"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

using namespace parley;
using namespace parley::net;

namespace {

using fields = std::vector<std::pair<std::string, std::string>>;

http_request a_request(const std::string& target, fields headers) {
  http_request r;
  auto parts = split_target(target);
  REQUIRE(parts.problem.empty());
  r.method = "GET";
  r.path = parts.path;
  r.query_raw = parts.query_raw;
  r.segments = parts.segments;
  r.query = parts.query;
  r.headers = std::move(headers);
  return r;
}

constexpr credential_rules upgrade{.upgrade = true};
constexpr credential_rules lenient_upgrade{.upgrade = true, .jwt_in_query = true};

const std::string jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl";
const std::string ticket = "wst_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const std::string bearer_jwt = "bearer." + base64url(jwt);

std::string with_user(std::string what, const std::optional<user_id>& user) {
  return user ? what + " for " + user->value : what;
}

/// In words: what a request carries, or what it is answered.
std::string carried(const http_request& request, credential_rules rules = {}) {
  const auto c = credential_of(request, rules);
  if (!c) return std::string{info(c.error().code).text} + " " + c.error().field;
  struct {
    std::string operator()(const no_credential&) const { return "nothing"; }
    std::string operator()(const operator_credential& o) const {
      return "operator " + o.master_key;
    }
    std::string operator()(const api_key_credential& k) const {
      for (const std::string key : {"sk_one", "0123-old-style"})
        if (k.digest == sha256(key)) return with_user("key " + key, k.user);
      return "another key";
    }
    std::string operator()(const jwt_credential& j) const {
      return j.token == jwt ? with_user("jwt", j.user) : "another jwt";
    }
    std::string operator()(const ticket_credential& t) const {
      return t.token == ticket ? with_user("ticket", t.user) : "another ticket";
    }
  } in_words;
  return std::visit(in_words, *c);
}
std::string carried(const std::string& target, fields headers, credential_rules rules = {}) {
  return carried(a_request(target, std::move(headers)), rules);
}

const std::string refused = "AUTHENTICATION_ERROR ";

}  // namespace

TEST_SUITE("SPEC 3 who is calling") {
  TEST_CASE("each form of a credential") {
    struct row {
      std::string target;
      fields headers;
      std::string carries;
    };
    for (const auto& r : {
             row{"/", {}, "nothing"},
             row{"/", {{"x-api-key", ""}}, "nothing"},
             row{"/", {{"x-user-id", "ann"}}, "nothing"},
             row{"/", {{"x-master-key", "m"}}, "operator m"},
             row{"/", {{"x-api-key", "sk_one"}}, "key sk_one"},
             row{"/", {{"x-api-key", "0123-old-style"}}, "key 0123-old-style"},
             row{"/", {{"authorization", "Bearer sk_one"}}, "key sk_one"},
             row{"/", {{"authorization", "bEARER  sk_one"}}, "key sk_one"},
             row{"/", {{"x-api-key", "sk_one"}, {"x-user-id", "ann"}}, "key sk_one for ann"},
             row{"/?user_id=J%C3%BCrgen", {{"x-api-key", "sk_one"}}, "key sk_one for J\xc3\xbcrgen"},
             row{"/?user_id=ann",
                 {{"x-api-key", "sk_one"}, {"x-user-id", "ann"}},
                 "key sk_one for ann"},
             row{"/?user_id=ann", {{"authorization", "Bearer sk_one"}}, "key sk_one for ann"},
             row{"/", {{"authorization", "Bearer " + jwt}}, "jwt"},
             row{"/", {{"authorization", "Bearer " + jwt}, {"x-user-id", "ann"}}, "jwt for ann"},
             row{"/?user_id=ann", {{"authorization", "Bearer " + jwt}}, "jwt for ann"},
         }) {
      CAPTURE(r.target);
      CAPTURE(r.carries);
      CHECK(carried(r.target, r.headers) == r.carries);
      CHECK(carried(r.target, r.headers, upgrade) == r.carries);  // an upgrade takes them all too
    }
  }

  TEST_CASE("an upgrade takes a ticket in its query, and a JWT as a subprotocol") {
    struct row {
      std::string target;
      fields headers;
      std::string carries;
    };
    for (const auto& r : {
             row{"/ws?token=" + ticket, {}, "ticket"},
             row{"/ws?user_id=ann&token=" + ticket, {}, "ticket for ann"},
             row{"/ws?token=" + ticket, {{"x-user-id", "ann"}}, "ticket for ann"},
             row{"/ws", {{"sec-websocket-protocol", "parley.v1, " + bearer_jwt}}, "jwt"},
             row{"/ws", {{"sec-websocket-protocol", bearer_jwt + ",parley.v1"}}, "jwt"},
             row{"/ws", {{"sec-websocket-protocol", " \t" + bearer_jwt + "\t , chat,, "}}, "jwt"},
             row{"/ws",
                 {{"sec-websocket-protocol", "parley.v1"}, {"sec-websocket-protocol", bearer_jwt}},
                 "jwt"},
             row{"/ws?user_id=ann",
                 {{"sec-websocket-protocol", "parley.v1," + bearer_jwt}},
                 "jwt for ann"},
             row{"/ws", {{"sec-websocket-protocol", "parley.v1"}}, "nothing"},
             row{"/ws", {{"sec-websocket-protocol", "bearer, Bearer." + base64url(jwt)}}, "nothing"},
             row{"/ws", {}, "nothing"},
         }) {
      CAPTURE(r.target);
      CAPTURE(r.carries);
      CHECK(carried(r.target, r.headers, upgrade) == r.carries);
    }
    // Elsewhere neither counts.
    CHECK(carried("/rooms?token=" + ticket, {}) == refused);
    CHECK(carried("/rooms", {{"sec-websocket-protocol", bearer_jwt}}) == "nothing");
  }

  TEST_CASE("a JWT in the query is for nodes that allow it, and for upgrades alone") {
    CHECK(carried("/ws?token=" + jwt, {}, upgrade) == refused);
    CHECK(carried("/ws?token=" + jwt, {}, lenient_upgrade) == "jwt");
    CHECK(carried("/rooms?token=" + jwt, {}, {.upgrade = false, .jwt_in_query = true}) == refused);
    CHECK(carried("/ws?token=" + ticket, {}, lenient_upgrade) == "ticket");
    CHECK(carried("/ws?token=sk_one", {}, lenient_upgrade) == refused);
  }

  TEST_CASE("what is refused before anybody is asked") {
    struct row {
      std::string why;
      std::string target;
      fields headers;
    };
    for (const auto& r : {
             row{"a key in the query", "/ws?api_key=sk_one", {}},
             row{"whatever else", "/ws?access_token=" + jwt, {}},
             row{"a key where a ticket belongs", "/ws?token=sk_one", {}},
             row{"a key without prefix, likewise", "/ws?token=0123-old-style", {}},
             row{"an empty ticket", "/ws?token=", {}},
             row{"two tickets", "/ws?token=" + ticket + "&token=" + ticket, {}},
             row{"a ticket and a key", "/ws?token=" + ticket, {{"x-api-key", "sk_one"}}},
             row{"a ticket and a JWT", "/ws?token=" + ticket, {{"authorization", "Bearer " + jwt}}},
             row{"a ticket and a subprotocol",
                 "/ws?token=" + ticket,
                 {{"sec-websocket-protocol", bearer_jwt}}},
             row{"two subprotocols",
                 "/ws",
                 {{"sec-websocket-protocol", bearer_jwt + "," + bearer_jwt}}},
             row{"a subprotocol and a key",
                 "/ws",
                 {{"sec-websocket-protocol", bearer_jwt}, {"x-api-key", "sk_one"}}},
             row{"an empty subprotocol token", "/ws", {{"sec-websocket-protocol", "bearer."}}},
             row{"padding", "/ws", {{"sec-websocket-protocol", bearer_jwt + "="}}},
             row{"the token itself, not its base64url",
                 "/ws",
                 {{"sec-websocket-protocol", "bearer." + jwt}}},
             row{"two kinds", "/", {{"x-api-key", "sk_one"}, {"authorization", "Bearer " + jwt}}},
             row{"the same key in two places",
                 "/",
                 {{"x-api-key", "sk_one"}, {"authorization", "Bearer sk_one"}}},
             row{"operator and tenant", "/", {{"x-api-key", "sk_one"}, {"x-master-key", "m"}}},
             row{"operator and user",
                 "/",
                 {{"authorization", "Bearer " + jwt}, {"x-master-key", "m"}}},
             row{"a header twice", "/", {{"x-api-key", "sk_one"}, {"x-api-key", "sk_one"}}},
             row{"another twice",
                 "/",
                 {{"authorization", "Bearer " + jwt}, {"authorization", "Bearer " + jwt}}},
             row{"the user twice",
                 "/",
                 {{"x-api-key", "sk_one"}, {"x-user-id", "ann"}, {"x-user-id", "ann"}}},
             row{"two users", "/?user_id=bob", {{"x-api-key", "sk_one"}, {"x-user-id", "ann"}}},
             row{"two users in the query", "/?user_id=bob&user_id=ann", {{"x-api-key", "sk_one"}}},
             row{"two users beside a JWT",
                 "/?user_id=bob",
                 {{"authorization", "Bearer " + jwt}, {"x-user-id", "ann"}}},
             row{"Basic", "/", {{"authorization", "Basic YTpi"}}},
             row{"no scheme", "/", {{"authorization", jwt}}},
             row{"no token", "/", {{"authorization", "Bearer"}}},
             row{"an empty token", "/", {{"authorization", "Bearer  "}}},
         }) {
      CAPTURE(r.why);
      CHECK(carried(r.target, r.headers, upgrade) == refused);
    }
  }

  TEST_CASE("a user id out of form is a mistake, not a failed authentication") {
    for (const auto& [name, value] :
         fields{{"x-api-key", "sk_one"}, {"authorization", "Bearer " + jwt}}) {
      CHECK(carried("/?user_id=%20ann", {{name, value}}) == "VALIDATION_ERROR user_id");
      CHECK(carried("/", {{name, value}, {"x-user-id", ""}}) == "VALIDATION_ERROR user_id");
    }
  }

  TEST_CASE("the operator is no user, whatever it names") {
    CHECK(carried("/?user_id=%20", {{"x-master-key", "m"}, {"x-user-id", "ann"}}) == "operator m");
  }

  TEST_CASE("the first frame takes a JWT or a ticket") {
    const auto kind = [](std::string_view token) {
      const auto c = credential_of_token(token);
      if (!c) return std::string{info(c.error().code).text};
      if (const auto* j = std::get_if<jwt_credential>(&*c)) return "jwt " + j->token;
      if (const auto* t = std::get_if<ticket_credential>(&*c)) return "ticket " + t->token;
      return std::string{"something else"};
    };
    CHECK(kind(jwt) == "jwt " + jwt);
    CHECK(kind(ticket) == "ticket " + ticket);
    CHECK(kind("whatever") == "jwt whatever");  // and none, as verify_jwt will say
    CHECK(kind("sk_one") == "AUTHENTICATION_ERROR");
    CHECK(kind("") == "AUTHENTICATION_ERROR");
  }

  TEST_CASE("whom the request names must be whom the token is for") {
    CHECK(names_user(std::nullopt, user_id{"ann"}));
    CHECK(names_user(user_id{"ann"}, user_id{"ann"}));
    CHECK_FALSE(names_user(user_id{"Ann"}, user_id{"ann"}));
    CHECK_FALSE(names_user(user_id{"bob"}, user_id{"ann"}));
  }

  TEST_CASE("a key is one of the tenant's, or it is gone") {
    actors::tenant_snapshot t;
    t.api_keys = {{key_id{"key_a"}, {}}};
    t.jwt_keys = {{key_id{"key_b"}, "s"}};
    CHECK(has_key(t, key_id{"key_a"}));
    CHECK(has_key(t, key_id{"key_b"}));
    CHECK_FALSE(has_key(t, key_id{"key_c"}));
    CHECK_FALSE(has_key(t, key_id{}));
  }

  TEST_CASE("only parley.v1 is echoed, if it was offered") {
    const auto chosen = [](fields headers) {
      return std::string{chosen_subprotocol(a_request("/ws", std::move(headers)))};
    };
    CHECK(chosen({}).empty());
    CHECK(chosen({{"sec-websocket-protocol", "parley.v1, " + bearer_jwt}}) == "parley.v1");
    CHECK(chosen({{"sec-websocket-protocol", bearer_jwt + ", parley.v1"}}) == "parley.v1");
    CHECK(chosen({{"sec-websocket-protocol", "chat"}, {"sec-websocket-protocol", "parley.v1"}}) ==
          "parley.v1");
    CHECK(chosen({{"sec-websocket-protocol", bearer_jwt}}).empty());
    CHECK(chosen({{"sec-websocket-protocol", "parley.v2, parley, PARLEY.V1"}}).empty());
  }
}
