#include "app/key_files.hpp"

#include "actors/new_tenant.hpp"
#include "app/dev_demo.hpp"
#include "tests/support/results.hpp"
#include "tests/support/temp_dir.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

using namespace parley;
using namespace parley::app;
using parley::tests::read_file;
using parley::tests::temp_dir;

namespace {

unsigned mode_of(const std::filesystem::path& file) {
  struct stat info {};
  return ::stat(file.c_str(), &info) == 0 ? info.st_mode & 0777U : 0U;
}

}  // namespace

TEST_SUITE("SPEC 3 secrets at rest") {
  TEST_CASE("the secret key is made once, for the node alone, and found again") {
    const temp_dir dir;
    const auto first = load_secret_key(dir.path(), system_random());
    REQUIRE(first);
    CHECK(first->created);
    CHECK(mode_of(dir / "secret_key") == 0600);
    const auto second = load_secret_key(dir.path(), system_random());
    REQUIRE(second);
    CHECK_FALSE(second->created);
    CHECK(second->key == first->key);
    CHECK(parse_secret_key(read_file(dir / "secret_key").substr(0, 64)).value() == first->key);
    CHECK(std::distance(std::filesystem::directory_iterator{dir.path()}, {}) == 1);
  }

  TEST_CASE("of several that start at once all get the same key") {
    const temp_dir dir;
    std::vector<std::thread> threads;
    std::vector<secret_key> keys(8);
    for (auto& key : keys) {
      threads.emplace_back([&] {
        if (auto loaded = load_secret_key(dir.path(), system_random())) key = loaded->key;
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(std::set<secret_key>(keys.begin(), keys.end()).size() == 1);
    CHECK(keys[0] != secret_key{});
  }

  TEST_CASE("a damaged key is refused, never replaced") {
    const temp_dir dir;
    for (const std::string content : {"", "abc", "zz"}) {
      dir.write("secret_key", content);
      CHECK_FALSE(load_secret_key(dir.path(), system_random()));
      CHECK(read_file(dir / "secret_key") == content);
    }
    CHECK_FALSE(parse_secret_key(std::string(63, 'a')));
    CHECK_FALSE(parse_secret_key(std::string(63, 'a') + "g"));
    CHECK(parse_secret_key(std::string(64, 'A')));
  }

  TEST_CASE("data directories are made with their parents, for the node alone") {
    const temp_dir dir;
    CHECK(make_data_dir(dir.path() / "a" / "b"));
    CHECK(mode_of(dir.path() / "a" / "b") == 0700);
    CHECK(make_data_dir(dir.path() / "a" / "b"));
    dir.write("file", "");
    CHECK_FALSE(make_data_dir(dir / "file"));
    CHECK(make_data_dir(dir / "file").error().code == error_code::unavailable);
  }

  TEST_CASE("a secret file is replaced as a whole") {
    const temp_dir dir;
    CHECK(write_secret_file(dir / "s", "one"));
    CHECK(write_secret_file(dir / "s", "two"));
    CHECK(read_file(dir / "s") == "two");
    CHECK(mode_of(dir / "s") == 0600);
    CHECK(create_secret_file(dir / "s", "three").value() == false);
    CHECK(read_file(dir / "s") == "two");
    CHECK_FALSE(write_secret_file(dir / "no" / "s", "x"));
  }
}

TEST_SUITE("SPEC 3 a new tenant's secrets") {
  TEST_CASE(
      "they are stored hashed or sealed, and open with the node's key for their tenant and key id "
      "alone") {
    const auto key = parse_secret_key(std::string(64, '7')).value();
    const auto fresh = actors::make_tenant("acme", "{}", key, from_unix_ms(0), system_random());
    CHECK(fresh.row.id.value.starts_with("tenant_"));
    CHECK(fresh.row.id.value.size() == 7 + 16);
    CHECK(fresh.secrets.api_key.starts_with("sk_"));
    CHECK(fresh.secrets.webhook_secret.starts_with("whsec_"));
    CHECK(fresh.secrets.webhook_secret.find_first_of("-_", 6) ==
          std::string::npos);  // base64, not base64url
    REQUIRE(fresh.row.credentials.size() == 3);
    for (const auto& c : fresh.row.credentials) {
      if (c.kind == "api_key") {
        CHECK(c.digest == sha256(fresh.secrets.api_key));
        CHECK(c.sealed.empty());
        continue;
      }
      const auto& secret =
          c.kind == "jwt_secret" ? fresh.secrets.jwt_secret : fresh.secrets.webhook_secret;
      CHECK_FALSE(c.digest);
      CHECK(c.sealed.find(secret) == std::string::npos);
      CHECK(unseal(key, c.sealed, actors::seal_context(fresh.row.id, c.id)) == secret);
      CHECK_FALSE(unseal(key, c.sealed, actors::seal_context(tenant_id{"tenant_other"}, c.id)));
    }
    const auto shown = actors::shown_once(fresh);
    CHECK(shown["api_key"] == fresh.secrets.api_key);
    CHECK(shown["keys"].size() == 3);
  }
}

TEST_SUITE("SPEC 7 --dev") {
  TEST_CASE("its state survives a restart, for the node alone; a damaged one is as none") {
    const temp_dir dir;
    const dev_state state{"mk_1", "tenant_1", "sk_1", "r1", "r2", "r3"};
    CHECK(write_dev_state(dir / "dev.json", state));
    CHECK(mode_of(dir / "dev.json") == 0600);
    const auto again = read_dev_state(dir / "dev.json");
    CHECK(again.master_api_key == "mk_1");
    CHECK(again.channel_room == "r3");
    CHECK(read_dev_state(dir / "none.json").master_api_key.empty());
    dir.write("bad.json", "{");
    CHECK(read_dev_state(dir / "bad.json").master_api_key.empty());
  }

  TEST_CASE("the page names everything that is needed to connect") {
    std::ostringstream out;
    print_dev_page(out, {"127.0.0.1:8080",
                         "parley-dev-data",
                         {"mk_1", "tenant_1", "sk_1", "dm-id", "group-id", "channel-id"}});
    const auto page = out.str();
    for (const std::string_view text :
         {"http://127.0.0.1:8080", "parley-dev-data", "mk_1", "tenant_1", "sk_1",
          "alice, bob, carol", "dm-id", "group-id", "channel-id",
          "curl -s http://127.0.0.1:8080/v1/rooms/group-id/messages -H 'X-API-Key: sk_1'",
          "python3 examples/chat.py --url ws://127.0.0.1:8080 --key sk_1 --room group-id alice"}) {
      CAPTURE(text);
      CHECK(page.find(text) != std::string::npos);
    }
  }
}
