#pragma once
/// Precompiled for tests that talk over sockets themselves. See pch_std.hpp.
#include "cmake/pch_net.hpp"
#include "cmake/pch_test_std.hpp"
