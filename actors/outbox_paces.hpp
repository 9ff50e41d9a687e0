#pragma once
/// The outbox's paces that are nobody's configuration.

#include <chrono>

namespace parley::actors {

/// What was refused or could not be read is asked again; what could not be stored (a full disk) later.
inline constexpr std::chrono::milliseconds retry_pause{200};
inline constexpr std::chrono::milliseconds store_pause{500};
/// A log that grows with each commit is looked at so often; one that was silent at once.
inline constexpr std::chrono::milliseconds scan_pause{10};
inline constexpr std::chrono::milliseconds offline_pause{500};
inline constexpr std::chrono::milliseconds lag_pause{1000};
inline constexpr std::chrono::milliseconds sweep_pause{1000};
inline constexpr std::chrono::milliseconds replay_pause{1000};
inline constexpr std::chrono::milliseconds log_pause{10'000};
/// An endpoint without news is looked at so often: rows of which no news came (a job's) wait no longer.
inline constexpr std::chrono::milliseconds recheck_pause{60'000};
/// A body that was made so long ago is made anew: edits, deletes and erasures since are in it then.
inline constexpr std::chrono::milliseconds loaded_good_for{2000};
/// A retry comes no sooner: full jitter alone would let some follow at once.
inline constexpr std::chrono::milliseconds retry_floor{100};

}  // namespace parley::actors
