#include "net/webhook_target.hpp"

#include "tests/support/seeds.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netdb.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

using namespace parley;
using namespace parley::net;
using problem = webhook_url_problem;

namespace {

/// Both modes of one URL: an expected problem, or nullopt for «taken».
struct row {
  std::string url;
  std::optional<problem> outside;  ///< without allow_private
  std::optional<problem> inside;   ///< with it
};

constexpr std::optional<problem> taken = std::nullopt;

std::optional<problem> problem_of(std::string_view url, bool allow_private) {
  const auto target = parse_webhook_url(url, allow_private);
  if (target) return std::nullopt;
  return target.error();
}

std::string text(std::optional<problem> p) { return p ? std::string{text_of(*p)} : "taken"; }

/// What getaddrinfo makes of a host that it takes for an address, in any of its forms; nullopt: it is a name.
std::optional<boost::asio::ip::address> as_number(const std::string& host) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* first = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &first) != 0) return std::nullopt;
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list{first, &::freeaddrinfo};
  if (first->ai_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, first->ai_addr, sizeof in);
    return boost::asio::ip::address_v4{ntohl(in.sin_addr.s_addr)};
  }
  sockaddr_in6 in{};
  std::memcpy(&in, first->ai_addr, sizeof in);
  boost::asio::ip::address_v6::bytes_type bytes;
  std::memcpy(bytes.data(), &in.sin6_addr, sizeof bytes);
  return boost::asio::ip::address_v6{bytes, in.sin6_scope_id};
}

/// Whatever is taken without allow_private leads, as it stands, to no inner address.
void check_leads_outside(std::string_view url) {
  const auto target = parse_webhook_url(url, false);
  if (!target) return;
  CAPTURE(url);
  CHECK(target->is_tls);
  if (const auto number = as_number(target->host)) {
    CHECK(address_is_public(*number));
    REQUIRE(target->address.has_value());
    CHECK(*target->address == *number);
  } else {
    CHECK_FALSE(target->address);
    CHECK(target->host.find('.') != std::string::npos);
  }
}

}  // namespace

TEST_SUITE("SPEC 6 where a webhook may go") {
  TEST_CASE("each form of a URL is taken or refused for its reason") {
    const auto refused = [](problem p) { return std::optional{p}; };
    const std::string name_63(63, 'a');
    const std::string name_64(64, 'a');
    const std::string host_253 = name_63 + "." + name_63 + "." + name_63 + "." + std::string(61, 'b');
    const std::string path_max(2048 - std::string{"https://hooks.example.com/"}.size(), 'p');
    const std::vector<row> rows{
        // What users have.
        {"https://hooks.example.com", taken, taken},
        {"https://hooks.example.com/", taken, taken},
        {"https://hooks.example.com/in?room=1&x=%20", taken, taken},
        {"https://hooks.example.com?x=1", taken, taken},
        {"HTTPS://HOOKS.EXAMPLE.COM/In", taken, taken},
        {"https://hooks.example.com.", taken, taken},
        {"https://hooks.example.com:443/", taken, taken},
        {"https://hooks.example.com:8443/", taken, taken},
        {"https://hooks.example.com:/", taken, taken},
        {"https://xn--bcher-kva.example/", taken, taken},
        {"https://my_hooks.example.com/", taken, taken},
        {"https://3.example.com/", taken, taken},
        {"https://1.2.3.4.example.com/", taken, taken},
        {"https://0x7f.example.com/", taken, taken},
        {"https://93.184.216.34/", taken, taken},
        {"https://[2606:2800:220:1:248:1893:25c8:1946]/", taken, taken},
        {"https://[2606:2800:220:1:248:1893:25C8:1946]:8443/", taken, taken},
        {"https://" + host_253 + "/", taken, taken},
        {"https://hooks.example.com/" + path_max, taken, taken},
        // Schemes.
        {"http://hooks.example.com/", refused(problem::plain_http), taken},
        {"HTTP://hooks.example.com/", refused(problem::plain_http), taken},
        {"ftp://hooks.example.com/", refused(problem::scheme), refused(problem::scheme)},
        {"file:///etc/passwd", refused(problem::scheme), refused(problem::scheme)},
        {"gopher://hooks.example.com:70/", refused(problem::scheme), refused(problem::scheme)},
        {"wss://hooks.example.com/", refused(problem::scheme), refused(problem::scheme)},
        {"httpss://hooks.example.com/", refused(problem::scheme), refused(problem::scheme)},
        {"data:text/plain,hello", refused(problem::scheme), refused(problem::scheme)},
        {"javascript:alert(1)", refused(problem::scheme), refused(problem::scheme)},
        // No absolute URL.
        {"", refused(problem::malformed), refused(problem::malformed)},
        {"hooks.example.com", refused(problem::malformed), refused(problem::malformed)},
        {"//hooks.example.com/", refused(problem::malformed), refused(problem::malformed)},
        {"/in", refused(problem::malformed), refused(problem::malformed)},
        {" https://hooks.example.com/", refused(problem::malformed), refused(problem::malformed)},
        {"https://hooks.example.com/ ", refused(problem::malformed), refused(problem::malformed)},
        {"https://hooks.example.com/a b", refused(problem::malformed), refused(problem::malformed)},
        {"https://hooks.example.com/\r\nX: y", refused(problem::malformed),
         refused(problem::malformed)},
        {"https://hooks.example.com/\n", refused(problem::malformed), refused(problem::malformed)},
        {"https://hooks.example.com/\t", refused(problem::malformed), refused(problem::malformed)},
        {std::string{"https://hooks.example.com/\0x", 28}, refused(problem::malformed),
         refused(problem::malformed)},
        {"https://hooks.example.com\\@127.0.0.1/", refused(problem::malformed),
         refused(problem::malformed)},
        {"https:\\\\hooks.example.com/", refused(problem::malformed), refused(problem::malformed)},
        {"https://hooks.example.com/%", refused(problem::malformed), refused(problem::malformed)},
        {"https://hooks.example.com/?a[0]=1", refused(problem::malformed),
         refused(problem::malformed)},
        {"https://hooks.example.com/%zz", refused(problem::malformed), refused(problem::malformed)},
        {"https://b\xc3\xbc"
         "cher.example/",
         refused(problem::malformed), refused(problem::malformed)},
        {"https://hooks.example.com/\xc3\xbc", refused(problem::malformed),
         refused(problem::malformed)},
        {"https://\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1/", refused(problem::malformed),
         refused(problem::malformed)},  // full-width 127
        {"https://127\xe3\x80\x82"
         "0.0.1/",
         refused(problem::malformed), refused(problem::malformed)},  // an ideographic full stop
        {"https://\xe2\x93\x94xample.com/", refused(problem::malformed),
         refused(problem::malformed)},  // a letter in a circle
        {"https://hooks.example.com/" + path_max + "p", refused(problem::too_long),
         refused(problem::too_long)},
        // Who, and which part.
        {"https://user@hooks.example.com/", refused(problem::credentials),
         refused(problem::credentials)},
        {"https://user:secret@hooks.example.com/", refused(problem::credentials),
         refused(problem::credentials)},
        {"https://@hooks.example.com/", refused(problem::credentials), refused(problem::credentials)},
        {"https://:@hooks.example.com/", refused(problem::credentials), refused(problem::credentials)},
        {"https://hooks.example.com@127.0.0.1/", refused(problem::credentials),
         refused(problem::credentials)},
        {"https://hooks.example.com:443@127.0.0.1/", refused(problem::credentials),
         refused(problem::credentials)},
        {"https://hooks.example.com/#", refused(problem::fragment), refused(problem::fragment)},
        {"https://hooks.example.com/#@127.0.0.1", refused(problem::fragment),
         refused(problem::fragment)},
        {"https://hooks.example.com#x", refused(problem::fragment), refused(problem::fragment)},
        // Ports.
        {"https://hooks.example.com:80/", taken, taken},
        {"https://hooks.example.com:1024/", taken, taken},
        {"https://hooks.example.com:65535/", taken, taken},
        {"https://hooks.example.com:0443/", taken, taken},
        {"https://hooks.example.com:0/", refused(problem::port), refused(problem::port)},
        {"https://hooks.example.com:65536/", refused(problem::port), refused(problem::port)},
        {"https://hooks.example.com:4294967739/", refused(problem::port),
         refused(problem::port)},  // 2^32 + 443
        {"https://hooks.example.com:22/", refused(problem::port), taken},
        {"https://hooks.example.com:25/", refused(problem::port), taken},
        {"https://hooks.example.com:1023/", refused(problem::port), taken},
        {"https://hooks.example.com:-1/", refused(problem::port), refused(problem::port)},
        {"https://hooks.example.com:44x/", refused(problem::port), refused(problem::port)},
        {"https://hooks.example.com:+443/", refused(problem::port), refused(problem::port)},
        {"https://hooks.example.com: 443/", refused(problem::malformed), refused(problem::malformed)},
        {"https://hooks.example.com:443:443/", refused(problem::host), refused(problem::host)},
        // Names that are none.
        {"https:///in", refused(problem::host), refused(problem::host)},
        {"https://:443/", refused(problem::host), refused(problem::host)},
        {"https:hooks.example.com", refused(problem::host), refused(problem::host)},
        {"https:/hooks.example.com", refused(problem::host), refused(problem::host)},
        {"https://./", refused(problem::host), refused(problem::host)},
        {"https://../", refused(problem::host), refused(problem::host)},
        {"https://hooks.example.com../", refused(problem::host), refused(problem::host)},
        {"https://.example.com/", refused(problem::host), refused(problem::host)},
        {"https://hooks..com/", refused(problem::host), refused(problem::host)},
        {"https://-hooks.example.com/", refused(problem::host), refused(problem::host)},
        {"https://hooks-.example.com/", refused(problem::host), refused(problem::host)},
        {"https://hooks.example.com,evil.example/", refused(problem::host), refused(problem::host)},
        {"https://hooks!.example.com/", refused(problem::host), refused(problem::host)},
        {"https://*.example.com/", refused(problem::host), refused(problem::host)},
        {"https://" + name_64 + ".example.com/", refused(problem::host), refused(problem::host)},
        {"https://" + host_253 + "b/", refused(problem::host), refused(problem::host)},
        {"https://%6cocalhost/", refused(problem::host), refused(problem::host)},
        {"https://127%2e0%2e0%2e1/", refused(problem::host), refused(problem::host)},
        {"https://%31%32%37.0.0.1/", refused(problem::host), refused(problem::host)},
        {"https://%EF%BC%91.example.com/", refused(problem::host), refused(problem::host)},
        {"https://127.0.0.1%00.example.com/", refused(problem::host), refused(problem::host)},
        {"https://hooks.example.com%2f@127.0.0.1/", refused(problem::credentials),
         refused(problem::credentials)},
        {"https://localhost/", refused(problem::host), taken},
        {"https://LOCALHOST/", refused(problem::host), taken},
        {"https://localhost./", refused(problem::host), taken},
        {"https://app.localhost/", refused(problem::host), taken},
        {"https://localhost.localdomain/", taken, taken},  // its addresses decide
        {"https://receiver/", refused(problem::host), taken},
        {"https://my_receiver:9000/", refused(problem::host), taken},
        {"http://receiver:9000/in", refused(problem::plain_http), taken},
        // Addresses in other forms than the usual one: inet_aton(3) takes most of them.
        {"https://2130706433/", refused(problem::host), refused(problem::host)},
        {"https://0x7f000001/", refused(problem::host), refused(problem::host)},
        {"https://0X7F000001/", refused(problem::host), refused(problem::host)},
        {"https://017700000001/", refused(problem::host), refused(problem::host)},
        {"https://0x7f.1/", refused(problem::host), refused(problem::host)},
        {"https://0x7f.0x0.0x0.0x1/", refused(problem::host), refused(problem::host)},
        {"https://0177.0.0.1/", refused(problem::host), refused(problem::host)},
        {"https://0177.0.0.0x1/", refused(problem::host), refused(problem::host)},
        {"https://127.0.0.01/", refused(problem::host), refused(problem::host)},
        {"https://127.1/", refused(problem::host), refused(problem::host)},
        {"https://127.0.1/", refused(problem::host), refused(problem::host)},
        {"https://127.65530/", refused(problem::host), refused(problem::host)},
        {"https://127.0.0.1./", refused(problem::host), refused(problem::host)},
        {"https://127.0.0.1../", refused(problem::host), refused(problem::host)},
        {"https://0/", refused(problem::host), refused(problem::host)},
        {"https://0x/", refused(problem::host), refused(problem::host)},
        {"https://0.0/", refused(problem::host), refused(problem::host)},
        {"https://10.1/", refused(problem::host), refused(problem::host)},
        {"https://192.168.257/", refused(problem::host), refused(problem::host)},
        {"https://256.256.256.256/", refused(problem::host), refused(problem::host)},
        {"https://1.2.3.4.5/", refused(problem::host), refused(problem::host)},
        {"https://4294967296/", refused(problem::host), refused(problem::host)},
        {"https://1572395042/", refused(problem::host), refused(problem::host)},  // public, and odd
        {"https://hooks.example.123/", refused(problem::host), refused(problem::host)},
        {"https://hooks.example.0x1f/", refused(problem::host), refused(problem::host)},
        // Addresses that are not public.
        {"https://127.0.0.1/", refused(problem::inner_address), taken},
        {"https://127.255.255.254:8443/", refused(problem::inner_address), taken},
        {"https://0.0.0.0/", refused(problem::inner_address), taken},
        {"https://10.0.0.1/", refused(problem::inner_address), taken},
        {"https://172.16.0.1/", refused(problem::inner_address), taken},
        {"https://192.168.0.1/", refused(problem::inner_address), taken},
        {"https://169.254.169.254/latest/meta-data/", refused(problem::inner_address), taken},
        {"https://100.100.100.200/", refused(problem::inner_address), taken},
        {"https://255.255.255.255/", refused(problem::inner_address), taken},
        {"https://[::1]/", refused(problem::inner_address), taken},
        {"https://[::]/", refused(problem::inner_address), taken},
        {"https://[0:0:0:0:0:0:0:1]/", refused(problem::inner_address), taken},
        {"https://[::ffff:127.0.0.1]/", refused(problem::inner_address), taken},
        {"https://[::ffff:7f00:1]/", refused(problem::inner_address), taken},
        {"https://[::127.0.0.1]/", refused(problem::inner_address), taken},
        {"https://[64:ff9b::127.0.0.1]/", refused(problem::inner_address), taken},
        {"https://[64:ff9b:1::1]/", refused(problem::inner_address), taken},
        {"https://[2002:7f00:1::]/", refused(problem::inner_address), taken},
        {"https://[fd00:ec2::254]/", refused(problem::inner_address), taken},
        {"https://[fe80::1]/", refused(problem::inner_address), taken},
        {"https://[ff02::1]/", refused(problem::inner_address), taken},
        // Public ones in a spelling that no certificate has.
        {"https://[::ffff:93.184.216.34]/", refused(problem::host), taken},
        {"https://[::ffff:5db8:d822]:8443/", refused(problem::host), taken},
        {"https://[64:ff9b::93.184.216.34]/", refused(problem::host), taken},
        {"https://[64:ff9b::5db8:d822]/", refused(problem::host), taken},
        // Brackets round something else.
        {"https://[fe80::1%25eth0]/", refused(problem::host), refused(problem::host)},
        {"https://[fe80::1%eth0]/", refused(problem::host), refused(problem::host)},
        {"https://[::1/", refused(problem::host), refused(problem::host)},
        {"https://[127.0.0.1]/", refused(problem::host), refused(problem::host)},
        {"https://[localhost]/", refused(problem::host), refused(problem::host)},
        {"https://[v1.127]/", refused(problem::host), refused(problem::host)},
        {"https://[]/", refused(problem::host), refused(problem::host)},
        {"https://[::1]x443/", refused(problem::host), refused(problem::host)},
        {"https://[::1]]:443/", refused(problem::host), refused(problem::host)},
        {"https://x[::1]:443/", refused(problem::host), refused(problem::host)},
        {"https://[2606:2800:220:1:248:1893:25c8:1946]:22/", refused(problem::port), taken},
        {"https://::1/", refused(problem::host), refused(problem::host)},
        {"https://[::1].example.com/", refused(problem::host), refused(problem::host)},
    };
    CHECK(rows.size() >= 90);
    for (const auto& r : rows) {
      CAPTURE(r.url);
      CHECK(text(problem_of(r.url, false)) == text(r.outside));
      CHECK(text(problem_of(r.url, true)) == text(r.inside));
      check_leads_outside(r.url);
    }
    MESSAGE(rows.size(), " forms of a URL");
  }

  TEST_CASE("a URL is taken apart as the request needs it") {
    struct parts {
      std::string url;
      bool is_tls;
      std::string host;
      int port;
      std::string authority;
      std::string path;
      bool is_address;
    };
    for (const auto& p : std::vector<parts>{
             {"https://Hooks.Example.COM", true, "hooks.example.com", 443, "hooks.example.com", "/",
              false},
             {"https://hooks.example.com.:443/In/?a=B", true, "hooks.example.com", 443,
              "hooks.example.com", "/In/?a=B", false},
             {"https://hooks.example.com:8443?q", true, "hooks.example.com", 8443,
              "hooks.example.com:8443", "/?q", false},
             {"https://hooks.example.com:/a/../b//c", true, "hooks.example.com", 443,
              "hooks.example.com", "/a/../b//c", false},
             {"https://hooks.example.com:80/%2F%3f?%23", true, "hooks.example.com", 80,
              "hooks.example.com:80", "/%2F%3f?%23", false},
             {"http://receiver:80/", false, "receiver", 80, "receiver", "/", false},
             {"http://receiver:443/", false, "receiver", 443, "receiver:443", "/", false},
             {"http://127.0.0.1:9000/x", false, "127.0.0.1", 9000, "127.0.0.1:9000", "/x", true},
             {"https://[2606:2800:0220:1:248:1893:25C8:1946]:8443/", true,
              "2606:2800:220:1:248:1893:25c8:1946", 8443,
              "[2606:2800:220:1:248:1893:25c8:1946]:8443", "/", true},
             {"http://[::1]/", false, "::1", 80, "[::1]", "/", true},
         }) {
      CAPTURE(p.url);
      const auto target = parse_webhook_url(p.url, true);
      REQUIRE(target.has_value());
      CHECK(target->is_tls == p.is_tls);
      CHECK(target->host == p.host);
      CHECK(target->port == p.port);
      CHECK(target->authority == p.authority);
      CHECK(target->path == p.path);
      CHECK(target->address.has_value() == p.is_address);
    }
  }

  TEST_CASE("an address is public or not, at each edge of each range") {
    struct range {
      std::string inner;  ///< the first and the last inside …
      std::string last;
      std::string before;  ///< … and their neighbours; empty: not public either
      std::string after;
    };
    for (const auto& r : std::vector<range>{
             {"0.0.0.0", "0.255.255.255", "", "1.0.0.0"},
             {"10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"},
             {"100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"},
             {"127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"},
             {"168.63.129.16", "168.63.129.16", "168.63.129.15", "168.63.129.17"},
             {"169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"},
             {"172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"},
             {"192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0"},
             {"192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0"},
             {"192.31.196.0", "192.31.196.255", "192.31.195.255", "192.31.197.0"},
             {"192.52.193.0", "192.52.193.255", "192.52.192.255", "192.52.194.0"},
             {"192.88.99.0", "192.88.99.255", "192.88.98.255", "192.88.100.0"},
             {"192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"},
             {"192.175.48.0", "192.175.48.255", "192.175.47.255", "192.175.49.0"},
             {"198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0"},
             {"198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0"},
             {"203.0.113.0", "203.0.113.255", "203.0.112.255", "203.0.114.0"},
             {"224.0.0.0", "239.255.255.255", "223.255.255.255", ""},
             {"240.0.0.0", "255.255.255.255", "", ""},
             {"::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", "2000::"},
             {"2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
              "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"},
             {"2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
              "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"},
             {"2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
              "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"},
             {"2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff",
              "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff", "2620:4f:8001::"},
             {"3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
              "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"},
             {"4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
              "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""},
         }) {
      for (const auto& [address, is_public] : std::vector<std::pair<std::string, bool>>{
               {r.inner, false}, {r.last, false}, {r.before, true}, {r.after, true}}) {
        if (address.empty()) continue;
        CAPTURE(address);
        const auto parsed = boost::asio::ip::make_address(address);
        CHECK(address_is_public(parsed) == is_public);
        if (!parsed.is_v4()) continue;
        // The same inside IPv6: where the kernel or a NAT64 goes there, it counts; elsewhere it is never public.
        CHECK(address_is_public(boost::asio::ip::make_address("::ffff:" + address)) == is_public);
        CHECK(address_is_public(boost::asio::ip::make_address("64:ff9b::" + address)) == is_public);
        CHECK_FALSE(address_is_public(boost::asio::ip::make_address("::" + address)));
        CHECK_FALSE(address_is_public(boost::asio::ip::make_address("64:ff9b:1::" + address)));
        CHECK_FALSE(address_is_public(boost::asio::ip::make_address("::ffff:0:" + address)));
      }
    }
  }

  TEST_CASE("what has a name of its own is not public") {
    for (const auto* address : {"127.0.0.1",
                                "169.254.169.254",
                                "169.254.170.2",
                                "100.100.100.200",
                                "192.0.0.192",
                                "168.63.129.16",
                                "0.0.0.0",
                                "255.255.255.255",
                                "224.0.0.1",
                                "239.255.255.250",
                                "::",
                                "::1",
                                "fd00:ec2::254",
                                "fd20:ce::254",
                                "fe80::1",
                                "febf::1",
                                "fec0::1",
                                "fc00::1",
                                "fdff::1",
                                "ff02::1",
                                "ff0e::1",
                                "100::1",
                                "100:0:0:1::1",
                                "2001:db8::1",
                                "2001::1",
                                "2001:2::1",
                                "2001:10::1",
                                "2001:20::1",
                                "2002:a00:1::1",
                                "3fff::1",
                                "5f00::1",
                                "64:ff9b::a9fe:a9fe",
                                "64:ff9b:1::a9fe:a9fe",
                                "::ffff:169.254.169.254",
                                "::169.254.169.254",
                                "2002:a9fe:a9fe::1"}) {
      CAPTURE(address);
      CHECK_FALSE(address_is_public(boost::asio::ip::make_address(address)));
    }
    for (const auto* address :
         {"1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e",
          "2001:4860:4860::8888", "2620:fe::fe", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"}) {
      CAPTURE(address);
      CHECK(address_is_public(boost::asio::ip::make_address(address)));
    }
    // An address of one link, wherever it came from.
    boost::asio::ip::address_v6 scoped = boost::asio::ip::make_address_v6("2606:4700:4700::1111");
    scoped.scope_id(2);
    CHECK_FALSE(address_is_public(scoped));
  }

  TEST_CASE(
      "no spelling that inet_aton understands leads to an inner address, however it is written") {
    // Random numbers in random forms: decimal, octal, hex, one to five parts, with and without dots at the end.
    std::size_t numeric = 0;
    std::size_t let_through = 0;
    tests::for_each_seed(400, [&](std::uint64_t seed) {
      std::mt19937_64 random{seed};
      const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
      for (int i = 0; i < 20; ++i) {
        std::string host;
        const auto parts = below(2) == 0 ? 4 : 1 + below(5);
        for (unsigned part = 0; part < parts; ++part) {
          if (part > 0) host += '.';
          const unsigned long value =
              below(3) == 0 ? static_cast<unsigned long>(random()) & 0xffffffffUL : below(256);
          char buffer[32];
          const char* const forms[] = {"%lu", "0%lo", "0x%lx", "0X%lX", "00%lo"};
          std::snprintf(buffer, sizeof buffer, forms[below(3) == 0 ? below(5) : 0], value);
          host += buffer;
        }
        if (below(8) == 0) host += '.';
        const auto url = "https://" + host + "/";
        check_leads_outside(url);
        in_addr in{};
        numeric += ::inet_aton(host.c_str(), &in) != 0 ? 1 : 0;
        let_through += parse_webhook_url(url, false) ? 1 : 0;
      }
    });
    // The test tries something.
    CHECK(numeric > 1000);
    CHECK(let_through > 100);
    CHECK(let_through < numeric);
  }
}
