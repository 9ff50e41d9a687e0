#include "protocol/rest_body.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

using namespace parley;

namespace {

const std::string room = "01890a5d-ac96-774b-bcce-b302099a8057";

node_limits small_limits() {
  node_limits bounds;
  bounds.max_content = 10;
  bounds.max_meta = 10;
  bounds.max_name = 10;
  return bounds;
}

rest_body_parser& parser() {
  static rest_body_parser instance{small_limits()};
  return instance;
}

/// `field` of the error; fails when there is none.
template <class T>
std::string wrong_field(const result<T>& r) {
  REQUIRE(r.has_error());
  CHECK(r.error().code == error_code::validation);
  return r.error().field;
}

std::vector<std::string> names(const std::vector<user_id>& users) {
  std::vector<std::string> out;
  for (const auto& user : users) out.push_back(user.value);
  return out;
}

/// `["u0","u1",…]`
std::string many_users(int count) {
  std::string out = "[";
  for (int i = 0; i < count; ++i) out += (i > 0 ? ",\"u" : "\"u") + std::to_string(i) + "\"";
  return out + "]";
}

}  // namespace

TEST_SUITE("SPEC 4 bodies") {
  TEST_CASE("whatever is not one JSON object is refused by every call") {
    const std::vector<std::string> bodies{
        "",
        "null",
        "[]",
        "{",
        "{}x",
        "\"a\"",
        "{\"a\":1,\"a\":2}",
        "{\"a\":\"\xff\"}",
        "\xef\xbb\xbf{}",
        R"({"x":"\ud800"})",
        R"({"x":1e999})",
        "{\"x\":" + std::string(40, '[') + std::string(40, ']') + "}"};
    for (const auto& body : bodies) {
      INFO(body);
      for (const auto& why : {parser().create_room(body).error(), parser().send(body).error(),
                              parser().add_members(body).error(), parser().cursor(body).error(),
                              parser().create_tenant(body).error(), parser().edit(body).error(),
                              parser().remove(body).error(), parser().update_room(body).error(),
                              parser().update_member(body).error(), parser().notify(body).error()}) {
        CHECK(why.code == error_code::validation);
        CHECK(why.field.empty());
        CHECK_FALSE(why.message.empty());
      }
    }
  }

  TEST_CASE("a parser that refused one body reads the next") {
    CHECK_FALSE(parser().cursor("{").has_value());
    CHECK(parser().cursor(R"({"room_id":")" + room + R"(","seq":1})").has_value());
  }
}

TEST_SUITE("SPEC 4 POST /rooms") {
  TEST_CASE("a room with everything") {
    const auto r = parser().create_room(
        R"({"type":"channel","members":["ann","bob"],"name":"News","metadata":{ "a":1 },"posting":"admins","unknown":[]})");
    REQUIRE(r.has_value());
    CHECK(r->type == room_type::channel);
    CHECK(names(r->members) == std::vector<std::string>{"ann", "bob"});
    CHECK(r->name == "News");
    CHECK(r->metadata.value == R"({"a":1})");
    CHECK(r->posting == posting_policy::admins);
  }

  TEST_CASE("a room needs type and members only; null counts as not given") {
    const auto r = parser().create_room(
        R"({"type":"group","members":[],"name":null,"metadata":null,"posting":null})");
    REQUIRE(r.has_value());
    CHECK(r->members.empty());
    CHECK_FALSE(r->name);
    CHECK(r->metadata.empty());
    CHECK(r->posting == posting_policy::all);
  }

  TEST_CASE("ids that stand twice count once, in the order given") {
    const auto r = parser().create_room(R"({"type":"dm","members":["bob","ann","b\u006fb"]})");
    REQUIRE(r.has_value());
    CHECK(names(r->members) == std::vector<std::string>{"bob", "ann"});
  }

  TEST_CASE("a metadata that is a string stays that string") {
    CHECK(parser().create_room(R"({"type":"group","members":[],"metadata":"{ a }"})")->metadata.value ==
          R"("{ a }")");
  }

  TEST_CASE("each wrong field is refused by its name") {
    struct row {
      const char* body;
      const char* field;
    };
    const row rows[] = {
        {R"({"members":[]})", "type"},
        {R"({"type":null,"members":[]})", "type"},
        {R"({"type":"party","members":[]})", "type"},
        {R"({"type":1,"members":[]})", "type"},
        {R"({"type":"group"})", "members"},
        {R"({"type":"group","members":null})", "members"},
        {R"({"type":"group","members":"ann"})", "members"},
        {R"({"type":"group","members":{"0":"ann"}})", "members"},
        {R"({"type":"group","members":[1]})", "members"},
        {R"({"type":"group","members":["ann",""]})", "members"},
        {R"({"type":"group","members":[" ann"]})", "members"},
        {R"({"type":"group","members":["a\u0000b"]})", "members"},
        {R"({"type":"group","members":[["ann"]]})", "members"},
        {R"({"type":"group","members":[],"name":5})", "name"},
        {R"({"type":"group","members":[],"name":"12345678901"})", "name"},
        {R"({"type":"group","members":[],"metadata":"123456789"})", "metadata"},
        {R"({"type":"group","members":[],"metadata":{"a":1,"a":1}})", "metadata"},
        {R"({"type":"group","members":[],"posting":"none"})", "posting"},
        {R"({"type":"group","members":[],"posting":true})", "posting"},
    };
    for (const row& r : rows) {
      INFO(r.body);
      CHECK(wrong_field(parser().create_room(r.body)) == r.field);
    }
  }

  TEST_CASE("name and metadata at their bounds pass") {
    CHECK(parser()
              .create_room(
                  R"({"type":"group","members":[],"name":"1234567\u00e9x","metadata":[1, 2, 3, 4]})")
              .has_value());
    CHECK(parser().create_room(R"({"type":"group","members":[],"metadata":[1,2,3,45]})").has_value());
    CHECK(wrong_field(parser().create_room(
              R"({"type":"group","members":[],"metadata":[1,2,3,456]})")) == "metadata");
  }
}

TEST_SUITE("SPEC 4 POST /rooms/{id}/messages") {
  TEST_CASE("a message with everything") {
    const auto r = parser().send(R"({"content":"hi","meta":[ 1 ],"client_msg_id":"c1","reply_to":")" +
                                 room + R"(","sender_id":"ann"})");
    REQUIRE(r.has_value());
    CHECK(r->message.content == "hi");
    CHECK(r->message.meta.value == "[1]");
    CHECK(r->message.client_msg_id == "c1");
    CHECK(r->message.reply_to == message_id::parse(room));
    CHECK(r->sender == user_id{"ann"});
  }

  TEST_CASE("content alone is enough, and may be empty with meta") {
    CHECK(parser().send(R"({"content":"hi"})")->sender == std::nullopt);
    CHECK(parser().send(R"({"content":"","meta":{}})").has_value());
  }

  TEST_CASE("each wrong field is refused by its name, and nothing was stored") {
    struct row {
      const char* body;
      const char* field;
    };
    const row rows[] = {
        {R"({})", "content"},
        {R"({"content":null})", "content"},
        {R"({"content":""})", "content"},
        {R"({"content":"12345678901"})", "content"},
        {R"({"content":"x","meta":"123456789"})", "meta"},
        {R"({"content":"x","client_msg_id":""})", "client_msg_id"},
        {R"({"content":"x","client_msg_id":5})", "client_msg_id"},
        {R"({"content":"x","reply_to":"?"})", "reply_to"},
        {R"({"content":"x","sender_id":""})", "sender_id"},
        {R"({"content":"x","sender_id":5})", "sender_id"},
        {R"({"content":"x","sender_id":"ann "})", "sender_id"},
    };
    for (const row& r : rows) {
      INFO(r.body);
      const auto refused = parser().send(r.body);
      CHECK(wrong_field(refused) == r.field);
      CHECK(refused.error().stored == stored_state::no);
    }
    CHECK(parser().send("{").error().stored == stored_state::no);
  }
}

TEST_SUITE("SPEC 4 PATCH and DELETE /rooms/{id}/messages/{message_id}") {
  TEST_CASE("an edit tells meta that stays from meta that is emptied") {
    const auto stays = parser().edit(R"({"content":"hi","client_msg_id":"k"})");
    REQUIRE(stays.has_value());
    CHECK(stays->content == "hi");
    CHECK(stays->client_msg_id == "k");
    CHECK_FALSE(stays->meta);
    CHECK(parser().edit(R"({"content":"hi","meta":null})")->meta == json_text{});
    CHECK(parser().edit(R"({"content":"","meta":{ "a": 1 }})")->meta == json_text{R"({"a":1})"});
  }
  TEST_CASE("each wrong field is refused by its name, and nothing was stored") {
    CHECK(wrong_field(parser().edit("{}")) == "content");
    CHECK(wrong_field(parser().edit(R"({"content":""})")) == "content");
    CHECK(wrong_field(parser().edit(R"({"content":"12345678901"})")) == "content");
    CHECK(wrong_field(parser().edit(R"({"content":"x","meta":"123456789"})")) == "meta");
    CHECK(wrong_field(parser().edit(R"({"content":"x","client_msg_id":""})")) == "client_msg_id");
    CHECK(parser().edit("{").error().stored == stored_state::no);
    CHECK(wrong_field(parser().remove(R"({"client_msg_id":7})")) == "client_msg_id");
    CHECK(parser().remove("[]").error().stored == stored_state::no);
    CHECK(*parser().remove(R"({"client_msg_id":"k","content":7})") == "k");
    CHECK(parser().remove("{}")->empty());
  }
}

TEST_SUITE("SPEC 4 PATCH /rooms/{id} and its members") {
  TEST_CASE("what is not given stays, null empties") {
    const auto nothing = parser().update_room("{}");
    REQUIRE(nothing.has_value());
    CHECK_FALSE(nothing->name);
    CHECK_FALSE(nothing->metadata);
    CHECK_FALSE(nothing->posting);
    const auto emptied = parser().update_room(R"({"name":null,"metadata":null,"posting":null})");
    REQUIRE(emptied.has_value());
    REQUIRE(emptied->name);
    CHECK_FALSE(*emptied->name);
    CHECK(emptied->metadata == json_text{});
    CHECK_FALSE(emptied->posting);
    const auto all = parser().update_room(R"({"name":"a","metadata":[1],"posting":"admins"})");
    REQUIRE(all.has_value());
    CHECK(**all->name == "a");
    CHECK(all->metadata == json_text{"[1]"});
    CHECK(all->posting == posting_policy::admins);
    CHECK_FALSE(all->retention);
  }
  TEST_CASE("retention: a duration, or null for none of its own") {
    using namespace std::chrono_literals;
    const std::vector<std::pair<const char*, std::chrono::milliseconds>> given{
        {"1h", 1h},      {"720h", 720h},    {"1h30m", 90min},
        {"1.5h", 90min}, {"3600000ms", 1h}, {"1000000000h", 876'000h}};
    for (const auto& [text, ms] : given) {
      CAPTURE(text);
      const auto read = parser().update_room(R"({"retention":")" + std::string{text} + "\"}");
      REQUIRE(read.has_value());
      REQUIRE(read->retention);
      CHECK(*read->retention == ms);
      CHECK_FALSE(read->name);
    }
    const auto none = parser().update_room(R"({"name":"a","retention":null})");
    REQUIRE(none.has_value());
    REQUIRE(none->retention);
    CHECK_FALSE(*none->retention);
    CHECK(**none->name == "a");
  }
  TEST_CASE("each wrong field is refused by its name") {
    CHECK(wrong_field(parser().update_room(R"({"name":7})")) == "name");
    CHECK(wrong_field(parser().update_room(R"({"name":"12345678901"})")) == "name");
    CHECK(wrong_field(parser().update_room(R"({"metadata":"123456789"})")) == "metadata");
    CHECK(wrong_field(parser().update_room(R"({"posting":"some"})")) == "posting");
    CHECK(wrong_field(parser().update_room(R"({"posting":1})")) == "posting");
    for (const char* wrong : {R"("59m")", R"("a week")", R"("")", R"("720")", "720", "true", "[]"}) {
      CAPTURE(wrong);
      CHECK(wrong_field(parser().update_room(R"({"retention":)" + std::string{wrong} + "}")) ==
            "retention");
    }
    CHECK(wrong_field(parser().update_member("{}")) == "role");
    CHECK(wrong_field(parser().update_member(R"({"role":"king"})")) == "role");
    CHECK(wrong_field(parser().update_member(R"({"role":null})")) == "role");
    CHECK(*parser().update_member(R"({"role":"owner"})") == member_role::owner);
  }
}

TEST_SUITE("SPEC 4 POST /rooms/{id}/members") {
  TEST_CASE("users and a role") {
    const auto r = parser().add_members(R"({"user_ids":["ann","bob","ann"],"role":"admin"})");
    REQUIRE(r.has_value());
    CHECK(names(r->users) == std::vector<std::string>{"ann", "bob"});
    CHECK(r->role == member_role::admin);
    CHECK_FALSE(parser().add_members(R"({"user_ids":["ann"]})")->role);
  }

  TEST_CASE("1 to 1,000 users a call") {
    CHECK(parser().add_members(R"({"user_ids":)" + many_users(1000) + "}")->users.size() == 1000);
    CHECK(wrong_field(parser().add_members(R"({"user_ids":)" + many_users(1001) + "}")) ==
          "user_ids");
    CHECK(wrong_field(parser().add_members(R"({"user_ids":[]})")) == "user_ids");
    CHECK(wrong_field(parser().add_members("{}")) == "user_ids");
    CHECK(wrong_field(parser().add_members(R"({"user_ids":["ann"],"role":"king"})")) == "role");
    CHECK(wrong_field(parser().add_members(R"({"user_ids":["ann"],"role":1})")) == "role");
  }
}

TEST_SUITE("SPEC 4 POST /acks and /reads") {
  TEST_CASE("a room and a seq") {
    const auto r = parser().cursor(R"({"seq":7,"room_id":")" + room + "\"}");
    REQUIRE(r.has_value());
    CHECK(r->first == room_id::parse(room));
    CHECK(r->second == room_seq{7});
  }

  TEST_CASE("what is missing or of a wrong form is refused by its name") {
    CHECK(wrong_field(parser().cursor("{}")) == "room_id");
    CHECK(wrong_field(parser().cursor(R"({"room_id":7,"seq":1})")) == "room_id");
    for (const char* seq : {"-1", "1.0", "1e1", "\"1\"", "null", "9007199254740993"}) {
      INFO(seq);
      CHECK(wrong_field(parser().cursor(R"({"room_id":")" + room + R"(","seq":)" + seq + "}")) ==
            "seq");
    }
  }

  TEST_CASE("an id that no room can have is not found, but only after what else is wrong") {
    CHECK(parser().cursor(R"({"room_id":"lobby","seq":1})").error().code == error_code::not_found);
    CHECK(wrong_field(parser().cursor(R"({"room_id":"lobby","seq":-1})")) == "seq");
  }
}

TEST_SUITE("SPEC 4 tenant config") {
  TEST_CASE("a tenant needs a name") {
    const auto r = parser().create_tenant(R"({"name":"Acme"})");
    REQUIRE(r.has_value());
    CHECK(r->name == "Acme");
    CHECK(r->config == "{}");
    CHECK(wrong_field(parser().create_tenant("{}")) == "name");
    CHECK(wrong_field(parser().create_tenant(R"({"name":""})")) == "name");
    CHECK(wrong_field(parser().create_tenant(R"({"name":7})")) == "name");
    CHECK(wrong_field(parser().create_tenant(R"({"name":"12345678901"})")) == "name");
    CHECK(parser().create_tenant(R"({"name":"1234567890"})").has_value());
  }

  TEST_CASE("every key of the contract is taken, minified") {
    const auto r =
        parser().create_tenant(R"({"name":"Acme","config":{ "rate_limit": 100, "message_rate":0,
      "user_send_rate":10, "user_send_burst":20, "max_connections_per_user":5, "jwt_audience":"parley",
      "user_topics":["news."], "webhook_url":"https://example.com/hook", "webhook_events":["message.created","user.online"],
      "webhook_format":"chatapi", "message_retention":"720h", "allowed_origins":["https://example.com"] }})");
    REQUIRE(r.has_value());
    CHECK(r->config ==
          R"({"rate_limit":100,"message_rate":0,"user_send_rate":10,"user_send_burst":20,"max_connections_per_user":5,)"
          R"("jwt_audience":"parley","user_topics":["news."],"webhook_url":"https://example.com/hook",)"
          R"("webhook_events":["message.created","user.online"],"webhook_format":"chatapi","message_retention":"720h",)"
          R"("allowed_origins":["https://example.com"]})");
  }

  TEST_CASE("an unknown key and a value of a wrong type are refused by their path") {
    struct row {
      const char* config;
      const char* field;
    };
    const row rows[] = {
        {R"([])", "config"},
        {R"("x")", "config"},
        {R"({"rate_limits":1})", "config.rate_limits"},
        {R"({"rate_limit":-1})", "config.rate_limit"},
        {R"({"rate_limit":1.5})", "config.rate_limit"},
        {R"({"rate_limit":"100"})", "config.rate_limit"},
        {R"({"rate_limit":null})", "config.rate_limit"},
        {R"({"user_send_burst":true})", "config.user_send_burst"},
        {R"({"jwt_audience":""})", "config.jwt_audience"},
        {R"({"jwt_audience":["a"]})", "config.jwt_audience"},
        {R"({"user_topics":"news."})", "config.user_topics"},
        {R"({"user_topics":[1]})", "config.user_topics"},
        {R"({"allowed_origins":[""]})", "config.allowed_origins"},
        {R"({"webhook_url":"ftp://example.com"})", "config.webhook_url"},
        {R"({"webhook_url":"example.com"})", "config.webhook_url"},
        {R"({"webhook_url":"https://"})", "config.webhook_url"},
        {R"({"webhook_url":"https:///path"})", "config.webhook_url"},
        {R"({"webhook_url":"https://user@example.com/"})", "config.webhook_url"},
        {R"({"webhook_url":"https://:secret@example.com/"})", "config.webhook_url"},
        {R"({"webhook_url":"https://example.com/#part"})", "config.webhook_url"},
        {R"({"webhook_url":7})", "config.webhook_url"},
        {R"({"webhook_url":null})", "config.webhook_url"},
        {R"({"webhook_events":["message.sent"]})", "config.webhook_events"},
        {R"({"webhook_events":["webhook.test"]})", "config.webhook_events"},
        {R"({"webhook_events":"message.created"})", "config.webhook_events"},
        {R"({"webhook_format":"xml"})", "config.webhook_format"},
        {R"({"message_retention":720})", "config.message_retention"},
        {R"({"message_retention":"59m"})", "config.message_retention"},
        {R"({"message_retention":"a week"})", "config.message_retention"},
        {R"({"message_retention":"720"})", "config.message_retention"},
        {R"({"message_retention":"-720h"})", "config.message_retention"},
        {R"({"rate_limit":1,"rate_limit":2})", "config"},
    };
    for (const row& r : rows) {
      INFO(r.config);
      CHECK(wrong_field(parser().create_tenant(R"({"name":"Acme","config":)" +
                                               std::string{r.config} + "}")) == r.field);
    }
    const auto with_url = [](std::string url) {
      url.insert(0, R"({"name":"A","config":{"webhook_url":")");
      url += "\"}}";
      return parser().create_tenant(url);
    };
    for (const char* url : {"https://example.com", "http://example.com:8080/hook?to=a@b",
                            "https://example.com?key=value", "http://127.0.0.1:9/", "https://[::1]",
                            "HTTPS://8.8.8.8/", "Http://example.com"}) {
      INFO(url);
      CHECK(with_url(url).has_value());
    }
    CHECK(with_url("https://user@example.com/").error().message ==
          "config.webhook_url must not hold a user name or password");
    CHECK(with_url("https://example.com/#part").error().message ==
          "config.webhook_url must have no fragment");
    CHECK(with_url("ftp://example.com/").error().message ==
          "config.webhook_url must be an http or https URL");
    std::string longest{"https://example.com/"};
    longest.append(2048 - longest.size(), 'x');
    CHECK(with_url(longest).has_value());
    longest += 'x';
    CHECK(wrong_field(with_url(longest)) == "config.webhook_url");
    CHECK(parser()
              .create_tenant(
                  R"({"name":"A","config":{"webhook_events":["message.offline","notification.failed"]}})")
              .has_value());
    for (const char* retention :
         {"1h", "60m", "90m", "1h30m", "1.5h", "3600s", "3600000ms", "0h60m"}) {
      INFO(retention);
      CHECK(parser()
                .create_tenant(R"({"name":"A","config":{"message_retention":")" +
                               std::string{retention} + "\"}}")
                .has_value());
    }
  }
}

TEST_SUITE("SPEC 6 POST /notify") {
  node_limits with_topics() {
    node_limits bounds;
    bounds.max_topic = 8;
    bounds.max_payload = 12;
    return bounds;
  }
  rest_body_parser& notices() {
    static rest_body_parser instance{with_topics()};
    return instance;
  }
  /// A body with these targets and nothing unusual beside.
  std::string body_for(const std::string& targets, const std::string& more = "") {
    return R"({"topic":"t","payload":1,"targets":)" + targets + more + "}";
  }

  TEST_CASE("a notification with everything") {
    const auto b = notices().notify(R"({"topic":"a/b ü","payload":{ "n" : [1] },"ttl_s":60,"targets":)"
                                    R"({"user_ids":["ann","bob","ann"],"room_id":")" +
                                    room + R"(","topic_subscribers":true}})");
    REQUIRE(b.has_value());
    CHECK(b->topic == "a/b ü");
    CHECK(b->payload.value == R"({"n":[1]})");
    CHECK(names(b->users) == std::vector<std::string>{"ann", "bob"});
    CHECK(b->room == room_id::parse(room));
    CHECK(b->topic_subscribers);
    CHECK(b->ttl == std::chrono::seconds{60});
  }

  TEST_CASE("one kind of target is enough; it lives for a week unless it says how long") {
    const auto users = notices().notify(body_for(R"({"user_ids":["ann"]})"));
    REQUIRE(users.has_value());
    CHECK(users->ttl == std::chrono::seconds{7 * 24 * 3600});
    CHECK(!users->room);
    CHECK(!users->topic_subscribers);
    CHECK(notices().notify(body_for(R"({"topic_subscribers":true,"user_ids":null})")).has_value());
    const auto in_room = notices().notify(body_for(R"({"room_id":")" + room + R"("})"));
    REQUIRE(in_room.has_value());
    CHECK(in_room->users.empty());
  }

  TEST_CASE("any JSON value is a payload, null too, and is kept as it is") {
    for (const std::string value : {R"("x")", "1.50", "[]", "false", R"({"a":null})"}) {
      const auto b =
          notices().notify(R"({"topic":"t","targets":{"user_ids":["a"]},"payload":)" + value + "}");
      REQUIRE(b.has_value());
      CHECK(b->payload.value == value);
    }
    const auto null =
        notices().notify(R"({"topic":"t","targets":{"user_ids":["a"]},"payload":null})");
    REQUIRE(null.has_value());
    CHECK(null->payload.value.empty());
  }

  TEST_CASE("a room's id that can't be one is asked for like one that is not there") {
    const auto b = notices().notify(body_for(R"({"room_id":"no such"})"));
    REQUIRE(b.has_value());
    REQUIRE(b->room.has_value());
    CHECK(b->room->id.is_nil());
  }

  TEST_CASE("each wrong field is refused by its name") {
    struct row {
      std::string body, field;
    };
    const std::string some = R"("targets":{"user_ids":["a"]})";
    const std::vector<row> rows{
        {"{" + some + R"(,"payload":1})", "topic"},
        {R"({"topic":"","payload":1,)" + some + "}", "topic"},
        {R"({"topic":7,"payload":1,)" + some + "}", "topic"},
        {R"({"topic":"a\u0001","payload":1,)" + some + "}", "topic"},
        {R"({"topic":"a\u0085","payload":1,)" + some + "}", "topic"},
        {R"({"topic":"123456789","payload":1,)" + some + "}", "topic"},
        {R"({"topic":"t",)" + some + "}", "payload"},
        {R"({"topic":"t","payload":"12345678901",)" + some + "}", "payload"},  // 13 with its quotes
        {R"({"topic":"t","payload":1})", "targets"},
        {body_for("null"), "targets"},
        {body_for("[]"), "targets"},
        {body_for("{}"), "targets"},
        {body_for(R"({"user_ids":[]})"), "targets"},
        {body_for(R"({"topic_subscribers":false})"), "targets"},
        {body_for(R"({"everybody":true})"), "targets"},
        {body_for(R"({"user_ids":"a"})"), "targets.user_ids"},
        {body_for(R"({"user_ids":["a"," b"]})"), "targets.user_ids"},
        {body_for(R"({"user_ids":)" + many_users(1001) + "}"), "targets.user_ids"},
        {body_for(R"({"room_id":7})"), "targets.room_id"},
        {body_for(R"({"topic_subscribers":1})"), "targets.topic_subscribers"},
        {body_for(R"({"user_ids":["a"]})", R"(,"ttl_s":0)"), "ttl_s"},
        {body_for(R"({"user_ids":["a"]})", R"(,"ttl_s":1.5)"), "ttl_s"},
        {body_for(R"({"user_ids":["a"]})", R"(,"ttl_s":31536001)"), "ttl_s"},
        {body_for(R"({"user_ids":["a"]})", R"(,"ttl_s":"60")"), "ttl_s"},
    };
    for (const auto& [body, field] : rows) {
      CAPTURE(body);
      CHECK(wrong_field(notices().notify(body)) == field);
    }
    CHECK(notices().notify(R"({"topic":"12345678","payload":"1234567890",)" + some + "}").has_value());
    CHECK(notices()
              .notify(body_for(R"({"user_ids":)" + many_users(1000) + "}", R"(,"ttl_s":31536000)"))
              .has_value());
    CHECK(notices().notify(body_for(R"({"user_ids":["a"],"user_ids":["b"]})")).has_error());
  }
}

TEST_SUITE("SPEC 6 POST /admin/tenants/{id}/webhook/replay") {
  TEST_CASE("the events of a time, or what was given up") {
    const auto since = parser().replay(R"({"since":"2026-05-01T12:00:00Z"})");
    REQUIRE(since.has_value());
    CHECK(since->since == parse_rfc3339("2026-05-01T12:00:00Z"));
    CHECK_FALSE(since->until);
    CHECK_FALSE(since->dead_letters);
    const auto both =
        parser().replay(R"({"since":"2026-05-01T12:00:00Z","until":"2026-05-01T12:00:00.001Z"})");
    REQUIRE(both.has_value());
    CHECK(both->until == parse_rfc3339("2026-05-01T12:00:00.001Z"));
    const auto letters = parser().replay(R"({"dead_letters":true,"since":null})");
    REQUIRE(letters.has_value());
    CHECK(letters->dead_letters);
    CHECK_FALSE(letters->since);
  }
  TEST_CASE("neither, both, or no time is refused by the field's name") {
    struct row {
      const char* body;
      const char* field;
    };
    const row rows[] = {
        {"{}", "since"},
        {R"({"dead_letters":false})", "since"},
        {R"({"dead_letters":true,"since":"2026-05-01T12:00:00Z"})", "since"},
        {R"({"dead_letters":"true"})", "dead_letters"},
        {R"({"dead_letters":1})", "dead_letters"},
        {R"({"since":"yesterday"})", "since"},
        {R"({"since":1767225600})", "since"},
        {R"({"since":"2026-05-01T12:00:00Z","until":"soon"})", "until"},
        {R"({"since":"2026-05-01T12:00:00Z","until":"2026-05-01T12:00:00Z"})", "until"},
        {R"({"dead_letters":true,"until":"2026-05-01T12:00:00Z"})", "until"},
    };
    for (const row& r : rows) {
      INFO(r.body);
      CHECK(wrong_field(parser().replay(r.body)) == r.field);
    }
    CHECK(parser().replay("[]").has_error());
    CHECK(parser().replay("").has_error());
  }
}
