#pragma once
/// Precompiled for net/, bench/ and the tests that speak HTTP: Beast and Asio as a whole.

#include "cmake/pch_std.hpp"

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/beast/websocket.hpp>
#include <openssl/ssl.h>
