#pragma once
/// Prometheus' text format, version 0.0.4, read strictly: what a scraper would have to guess is a failure.

#include <cstddef>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace parley::tests {

struct bad_exposition : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class exposition {
 public:
  using labels = std::map<std::string, std::string>;
  struct family {
    std::string type;
    std::string help;
    /// By the sample's name and its labels: `a_bucket` beside `a_sum`.
    std::map<std::pair<std::string, labels>, double> samples;
  };

  /// Throws bad_exposition. Checked: every line is one of HELP, TYPE and sample; each family has both, once, before its
  /// samples, which stand together; names and labels are well formed and no series comes twice; counters are not
  /// negative; a histogram's buckets grow up to `+Inf`, which is its count, and it has a sum.
  explicit exposition(std::string_view text);

  [[nodiscard]] const std::map<std::string, family>& families() const { return families_; }
  /// Of one sample; a series that is not there counts 0.
  [[nodiscard]] double value(const std::string& name, const labels& of = {}) const;
  /// All samples of a family, summed.
  [[nodiscard]] double sum(const std::string& name) const;

 private:
  void take_sample(std::string_view line, const std::string& current);
  static void check_histogram(const std::string& name, const family& f);
  std::map<std::string, family> families_;
};

}  // namespace parley::tests
