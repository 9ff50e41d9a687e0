// What the operator changes of a tenant, and what its backend says of a user.

#include "tests/store/store_fixture.hpp"

using namespace parley;
using namespace parley::store;
using namespace parley::store::test;

namespace {

struct with_credentials : store_fixture {
  with_credentials() {
    open();
    new_tenant t;
    t.id = acme;
    t.name = "Acme";
    t.config = R"({"rate_limit":5})";
    t.created_at = time.now();
    t.credentials = {{key_id{"key_1"}, "api_key", sha256("sk_1"), ""},
                     {key_id{"key_2"}, "jwt_secret", std::nullopt, "sealed"}};
    REQUIRE(writes().begin());
    tenant = writes().create_tenant(t).value();
    REQUIRE(writes().commit());
  }
  template <class What>
  write_result<tenant_row> change(What what) {
    REQUIRE(writes().begin());
    auto done = writes().change_tenant({acme, std::move(what), time.now()});
    REQUIRE(writes().commit());
    return done;
  }
  tenant_row stored() {
    auto row = reads->tenant(acme);
    REQUIRE(row);
    REQUIRE(*row);
    return **row;
  }
  static tenant_change::add_credential another(const char* id, const char* kind,
                                               std::optional<sha256_digest> digest = {}) {
    return {{key_id{id}, kind, digest, digest ? "" : "sealed too"}};
  }
  template <class T>
  static void is_not_there(const write_result<T>& got) {
    REQUIRE_FALSE(got);
    CHECK(got.error().scope == failure_scope::item);
    CHECK(got.error().why.code == error_code::not_found);
  }
  /// Each of these in a transaction of its own.
  void nothing_can_be_written(const created_room& room) {
    REQUIRE(writes().begin());
    is_not_there(writes().append(message(tenant, room.no, 1, "ann", "hello")));
    is_not_there(writes().create_room(a_room(tenant, {"ann"_user})));
    is_not_there(writes().move_cursor({tenant, "ann"_user, room.info.id, room_seq{0}, true}));
    is_not_there(writes().delete_room(tenant, room.no, time.now()));
    REQUIRE(writes().commit());
    const auto opened = writes().open_room(tenant, room.info.id, time.now());
    REQUIRE(opened);
    CHECK_FALSE(*opened);
  }

  const tenant_id acme{"tenant_acme"};
  tenant_no tenant;
};

}  // namespace

TEST_SUITE("SPEC 4 changes of a tenant") {
  TEST_CASE_FIXTURE(with_credentials,
                    "what is given changes, what is not stays, and each change is newer") {
    const auto before = stored();
    CHECK(before.revision == 0);
    const auto named = change(tenant_change::update{.name = "Acme Ltd"});
    REQUIRE(named);
    CHECK(named->name == "Acme Ltd");
    CHECK(named->config == before.config);
    CHECK_FALSE(named->disabled);
    CHECK(named->revision == 1);
    CHECK(named->credentials.size() == 2);
    const auto configured = change(tenant_change::update{.config = "{}", .disabled = true});
    REQUIRE(configured);
    const auto now = stored();
    CHECK(now.name == "Acme Ltd");
    CHECK(now.config == "{}");
    CHECK(now.disabled);
    CHECK(now.revision == 2);
    CHECK(now.created_at == before.created_at);
  }

  TEST_CASE_FIXTURE(with_credentials, "no such tenant is not found") {
    REQUIRE(writes().begin());
    is_not_there(writes().change_tenant({tenant_id{"tenant_9"}, tenant_change::update{}, time.now()}));
    REQUIRE(writes().commit());
  }

  TEST_CASE_FIXTURE(with_credentials, "there are two credentials of a kind, and not three") {
    for (const char* kind : {"api_key", "jwt_secret", "webhook_secret"}) {
      CAPTURE(kind);
      while (true) {
        const auto kept = stored();
        std::size_t of_kind = 0;
        for (const auto& c : kept.credentials) of_kind += c.kind == kind ? 1 : 0;
        const auto id = std::string{kind} + std::to_string(of_kind);
        const auto added = change(another(id.c_str(), kind));
        if (of_kind < 2) {
          REQUIRE(added);
          CHECK(added->credentials.size() == kept.credentials.size() + 1);
          CHECK(added->revision == kept.revision + 1);
          continue;
        }
        REQUIRE_FALSE(added);
        CHECK(added.error().scope == failure_scope::item);
        CHECK(added.error().why.code == error_code::conflict);
        CHECK(added.error().why.field == "kind");
        CHECK(stored().revision == kept.revision);
        break;
      }
    }
  }

  TEST_CASE_FIXTURE(with_credentials,
                    "a key names its tenant, by its digest and by its id, until it is deleted") {
    REQUIRE(change(another("key_3", "api_key", sha256("sk_3"))));
    const auto by_digest = reads->tenant_by_api_key(sha256("sk_3"));
    REQUIRE(by_digest);
    REQUIRE(*by_digest);
    CHECK((*by_digest)->no == tenant);
    REQUIRE((*by_digest)->credentials.size() == 3);
    CHECK((*by_digest)->credentials[0].digest == sha256("sk_1"));
    CHECK_FALSE((*by_digest)->credentials[1].digest);
    const auto by_id = reads->tenant_by_key(key_id{"key_2"});
    REQUIRE(by_id);
    REQUIRE(*by_id);
    CHECK((*by_id)->no == tenant);
    // An API key's id is no token's `kid`.
    CHECK_FALSE(*reads->tenant_by_key(key_id{"key_1"}));
    CHECK_FALSE(*reads->tenant_by_key(key_id{"key_3"}));
    const auto gone = change(tenant_change::delete_credential{key_id{"key_3"}});
    REQUIRE(gone);
    CHECK(gone->credentials.size() == 2);
    CHECK(gone->revision == 2);
    CHECK_FALSE(*reads->tenant_by_api_key(sha256("sk_3")));
    CHECK_FALSE(*reads->tenant_by_key(key_id{"key_3"}));
    is_not_there(change(tenant_change::delete_credential{key_id{"key_3"}}));
    CHECK(stored().revision == 2);
  }

  TEST_CASE_FIXTURE(with_credentials, "a key of another tenant is not there to be deleted") {
    make_tenant("tenant_2");
    REQUIRE(writes().begin());
    is_not_there(writes().change_tenant(
        {tenant_id{"tenant_2"}, tenant_change::delete_credential{key_id{"key_1"}}, time.now()}));
    REQUIRE(writes().commit());
    CHECK(*reads->tenant_by_api_key(sha256("sk_1")));
  }

  TEST_CASE_FIXTURE(with_credentials,
                    "one that is disabled writes nothing until it is enabled again") {
    const auto room = make_room(tenant, {"ann"_user, "bob"_user});
    REQUIRE(change(tenant_change::update{.disabled = true}));
    nothing_can_be_written(room);
    // Its name and keys are known on: whoever uses one is told so.
    CHECK((*reads->tenant_by_api_key(sha256("sk_1")))->disabled);
    CHECK(*reads->tenant_by_key(key_id{"key_2"}));
    REQUIRE(change(tenant_change::update{.disabled = false}));
    commit({message(tenant, room.no, 1, "ann", "back")});
    check_clean();
  }

  TEST_CASE_FIXTURE(with_credentials, "other tenants write on") {
    const auto other = make_tenant("tenant_2");
    const auto room = make_room(other, {"ann"_user});
    REQUIRE(change(tenant_change::update{.disabled = true}));
    commit({message(other, room.no, 1, "ann", "hello")});
  }

  TEST_CASE_FIXTURE(with_credentials, "a change that is rolled back is not remembered") {
    const auto room = make_room(tenant, {"ann"_user});
    REQUIRE(writes().begin());
    REQUIRE(writes().change_tenant({acme, tenant_change::update{.disabled = true}, time.now()}));
    is_not_there(writes().append(message(tenant, room.no, 1, "ann", "1")));
    writes().rollback();
    commit({message(tenant, room.no, 1, "ann", "1")});
    CHECK(stored().revision == 0);
  }

  TEST_CASE_FIXTURE(with_credentials,
                    "one that is deleted is gone for every question, at once, and stays so") {
    const auto room = make_room(tenant, {"ann"_user, "bob"_user});
    make_tenant("tenant_2");
    const auto removed = change(tenant_change::remove{"job_1"});
    REQUIRE(removed);
    CHECK(removed->deleted);
    CHECK(removed->revision == 1);
    for (int life = 0; life < 2; ++life) {
      CHECK_FALSE(*reads->tenant(acme));
      CHECK_FALSE(*reads->tenant_by_api_key(sha256("sk_1")));
      CHECK_FALSE(*reads->tenant_by_key(key_id{"key_2"}));
      const auto listed = reads->tenants(10, "");
      REQUIRE(listed);
      REQUIRE(listed->tenants.size() == 1);
      CHECK(listed->tenants[0].id == tenant_id{"tenant_2"});
      is_not_there(change(tenant_change::update{.disabled = false}));
      is_not_there(change(tenant_change::remove{"job_2"}));
      nothing_can_be_written(room);
      const auto job = reads->job("job_1");
      REQUIRE(job);
      REQUIRE(*job);
      CHECK((*job)->kind == "delete_tenant");
      CHECK((*job)->tenant == tenant);
      CHECK((*job)->state == job_state::running);
      CHECK_FALSE(*reads->job("job_2"));
      crash();
      open();
    }
    check_clean();
  }
}

TEST_SUITE("SPEC 3 credentials of a user that are void") {
  TEST_CASE_FIXTURE(with_credentials,
                    "the latest revocation counts, also of one whom nothing names yet") {
    CHECK_FALSE(*reads->revoked_before(tenant, "ann"_user));
    const auto at = time.now();
    const auto revoke = [&](utc_time before) {
      return change(tenant_change::revoke_user{"ann"_user, before});
    };
    REQUIRE(revoke(at));
    CHECK(*reads->revoked_before(tenant, "ann"_user) == at);
    REQUIRE(revoke(at - std::chrono::hours{1}));
    CHECK(*reads->revoked_before(tenant, "ann"_user) == at);
    const auto later = revoke(at + std::chrono::hours{1});
    REQUIRE(later);
    CHECK(later->revision == 0);  // nothing that all of the tenant's gateways must learn anew
    CHECK(*reads->revoked_before(tenant, "ann"_user) == at + std::chrono::hours{1});
    CHECK_FALSE(*reads->revoked_before(tenant, "bob"_user));
    const auto other = make_tenant("tenant_2");
    CHECK_FALSE(*reads->revoked_before(other, "ann"_user));
    check_clean();
  }
}

TEST_SUITE("SPEC 4 last_used_at") {
  TEST_CASE_FIXTURE(with_credentials,
                    "it only moves forward, and a key that is gone is passed over") {
    const auto at = time.now();
    const auto used = [&](const char* key, utc_time when) {
      REQUIRE(writes().begin());
      CHECK(writes().store_key_used(tenant, key_id{key}, when));
      REQUIRE(writes().commit());
    };
    CHECK_FALSE(stored().credentials[0].last_used_at);
    used("key_1", at);
    CHECK(stored().credentials[0].last_used_at == at);
    used("key_1", at - std::chrono::minutes{1});
    CHECK(stored().credentials[0].last_used_at == at);
    used("key_1", at + std::chrono::minutes{1});
    CHECK(stored().credentials[0].last_used_at == at + std::chrono::minutes{1});
    used("key_9", at);
    CHECK_FALSE(stored().credentials[1].last_used_at);
    CHECK(stored().revision == 0);
  }
}
