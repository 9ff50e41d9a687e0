#pragma once
/// Precompiled for the files that may use CAF (*_actor.cpp, actor_base.cpp, actor_system.cpp, scheduler.cpp): 11 s and
/// 600 MB for each of them otherwise.

#include "cmake/pch_std.hpp"

#include <caf/all.hpp>
#include <caf/policy/work_stealing.hpp>
#include <caf/scheduler/abstract_coordinator.hpp>
#include <caf/scheduler/test_coordinator.hpp>
