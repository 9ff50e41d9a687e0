// What /metrics shows: the table and its document, the text, who gets which form.

#include "net/metrics.hpp"

#include "actors/node_actors.hpp"
#include "net/gateway_counters.hpp"
#include "net/routes.hpp"
#include "tests/support/process.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>

using namespace parley;
using namespace parley::net;

namespace {

std::string_view kind_text(metric_kind kind) {
  switch (kind) {
    case metric_kind::counter:
      return "counter";
    case metric_kind::gauge:
      return "gauge";
    case metric_kind::histogram:
      break;
  }
  return "histogram";
}

/// Rows of the tables of docs/metrics.md: name and type.
std::map<std::string, std::string> documented() {
  std::ifstream in{tests::binary_from("PARLEY_SOURCE_DIR") + "/docs/metrics.md"};
  REQUIRE(in.is_open());
  std::map<std::string, std::string> found;
  static const std::regex row{R"(^\| `(parley_[a-z0-9_]+)` \| (\w+) \|.*)"};
  for (std::string line; std::getline(in, line);) {
    if (std::smatch m; std::regex_match(line, m, row)) {
      CHECK_MESSAGE(found.emplace(m[1], m[2]).second, "twice: " << m[1].str());
    }
  }
  return found;
}

}  // namespace

TEST_SUITE("SPEC 7 metrics") {
  TEST_CASE("every metric is documented, with its type, and nothing else is") {
    std::map<std::string, std::string> served;
    for (const auto& m : metric_table()) served.emplace(m.name, std::string{kind_text(m.kind)});
    CHECK(served.size() == metric_table().size());
    const auto in_the_document = documented();
    for (const auto& [name, kind] : served) {
      CAPTURE(name);
      const auto it = in_the_document.find(name);
      REQUIRE(it != in_the_document.end());
      CHECK(it->second == kind);
    }
    for (const auto& [name, kind] : in_the_document) {
      CAPTURE(name);
      CHECK(served.contains(name));
    }
  }

  TEST_CASE("a name is parley_, a subsystem, what, a unit; counters and only they end in _total") {
    static const std::regex form{"parley_[a-z]+(_[a-z]+)+"};
    for (const auto& m : metric_table()) {
      const std::string name{m.name};
      CAPTURE(name);
      CHECK(std::regex_match(name, form));
      CHECK((m.kind == metric_kind::counter) == name.ends_with("_total"));
      CHECK_FALSE(m.help.empty());
      CHECK(m.help.ends_with("."));
    }
  }

  TEST_CASE("every place of a counted table has a name of its own") {
    std::set<std::string> names;
    for (std::size_t at = 0; at < close_places(); ++at) names.insert(close_place_name(at));
    CHECK(names.size() == close_places());
    CHECK(close_places() <= close_places_max);
    CHECK(close_place_name(close_place(close_code::stalled_reader)) == "4008");
    CHECK(close_place_name(close_place(close_code::no_status)) == "1005");
    CHECK(close_place_name(close_place(close_code{4999})) == "other");
    names.clear();
    for (std::size_t at = 0; at < refusals; ++at)
      names.emplace(name_of(static_cast<refused_by>(at)));
    CHECK(names.size() == refusals);
    names.clear();
    for (std::size_t at = 0; at < frame_kinds; ++at) names.emplace(frame_kind_name(at));
    CHECK(names.size() == frame_kinds);
    CHECK(frame_kind_name(client_command{ping_frame{}}.index()) == "ping");
    CHECK(frame_kind_name(client_command{cursor_frame{}}.index()) == "cursor");
    CHECK(frame_kind_name(client_command{presence_set_frame{}}.index()) == "presence.set");
  }

  TEST_CASE("a histogram puts a value into the range that ends at it") {
    actors::histogram h{actors::row_bounds};
    for (const std::uint64_t rows : {1U, 2U, 2U, 3U, 4U, 4096U, 5000U}) h.observe(rows);
    CHECK(h.count_in(0) == 1);
    CHECK(h.count_in(1) == 2);
    CHECK(h.count_in(2) == 2);
    CHECK(h.count_in(actors::row_bounds.size() - 1) == 1);
    CHECK(h.count_in(actors::row_bounds.size()) == 1);
    CHECK(h.count() == 7);
    CHECK(h.sum() == 9108);
  }

  TEST_CASE("Accept decides between text and ChatAPI's JSON, and the path what is the default") {
    struct row {
      std::string_view accept;
      metrics_form canonical;
      metrics_form dialect;
    };
    constexpr auto text = metrics_form::text;
    constexpr auto json = metrics_form::json;
    // What Prometheus 2.x sends comes last.
    for (const auto& r :
         {row{"", text, json}, row{"*/*", text, json}, row{"application/json", json, json},
          row{"Application/JSON; q=0.5", json, json}, row{"text/plain", text, text},
          row{"text/html", text, json}, row{"application/json, text/plain;q=0.1", text, text},
          row{"application/openmetrics-text", text, text}, row{"text/plainer", text, json},
          row{"application/openmetrics-text;version=1.0.0,application/"
              "openmetrics-text;version=0.0.1"
              ";q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
              text, text}}) {
      CAPTURE(r.accept);
      CHECK(metrics_form_of(r.accept, false) == r.canonical);
      CHECK(metrics_form_of(r.accept, true) == r.dialect);
    }
  }
}

TEST_SUITE("SPEC 4 metrics: addresses") {
  TEST_CASE("a range contains what its bits say") {
    struct row {
      std::string_view range;
      std::string_view address;
      bool contains;
    };
    for (const auto& r :
         {row{"127.0.0.0/8", "127.9.8.7", true}, row{"127.0.0.0/8", "128.0.0.1", false},
          row{"10.1.2.3", "10.1.2.3", true}, row{"10.1.2.3", "10.1.2.2", false},
          row{"10.1.2.0/23", "10.1.3.255", true}, row{"10.1.2.0/23", "10.1.4.0", false},
          row{"0.0.0.0/0", "203.0.113.9", true}, row{"0.0.0.0/0", "::1", false},
          row{"::1/128", "::1", true}, row{"::1/128", "::2", false},
          row{"fd00::/8", "fdab::1", true}, row{"fd00::/8", "fe80::1", false},
          row{"::/0", "2001:db8::1", true}, row{"::/0", "10.0.0.1", false},
          // An IPv4 client on an IPv6 socket.
          row{"127.0.0.0/8", "::ffff:127.0.0.1", true}, row{"::/0", "::ffff:127.0.0.1", false}}) {
      CAPTURE(r.range);
      CAPTURE(r.address);
      const auto range = parse_address_range(r.range);
      REQUIRE(range);
      CHECK(range->contains(boost::asio::ip::make_address(r.address)) == r.contains);
    }
  }

  TEST_CASE("what is no range is refused") {
    for (const auto* text : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8",
                             "10.0.0.0/8 ", "10.0.0.1/8", "10.0.0", "fd00::1/8", "::1/129",
                             "::ffff:10.0.0.0/104", "localhost", "fe80::1%1"}) {
      CAPTURE(text);
      CHECK_FALSE(parse_address_range(text));
    }
  }
}
