#pragma once
/// Whether an address is free to listen on. The I/O threads share theirs with SO_REUSEPORT, and so would a second node of the
/// same user: the kernel would deal out connections between the two, and nobody would be told.

#include <boost/asio/ip/tcp.hpp>

namespace parley::app {

/// The error that listening there alone would meet; none for port 0. Asked before the I/O threads listen: whoever comes
/// in between is not noticed, as he would not be by any check.
[[nodiscard]] boost::system::error_code check_address_free(const boost::asio::ip::tcp::endpoint& where);

}  // namespace parley::app
