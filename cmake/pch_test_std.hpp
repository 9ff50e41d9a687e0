#pragma once
/// Precompiled for tests that need no network: what nearly all of them include. See pch_std.hpp.
#include "cmake/pch_std.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
