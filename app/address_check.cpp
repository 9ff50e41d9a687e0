#include "app/address_check.hpp"

#include <boost/asio/io_context.hpp>

namespace parley::app {

boost::system::error_code check_address_free(const boost::asio::ip::tcp::endpoint& where) {
  if (where.port() == 0) return {};
  boost::asio::io_context io{1};
  boost::asio::ip::tcp::acceptor alone{io};
  boost::system::error_code code;
  alone.open(where.protocol(), code);
  // Without SO_REUSEPORT; with SO_REUSEADDR, so that connections of a former node that are still closing don't count.
  if (!code) alone.set_option(boost::asio::socket_base::reuse_address{true}, code);
  if (!code) alone.bind(where, code);
  return code;
}

}  // namespace parley::app
