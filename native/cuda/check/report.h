/*
 * The output of the check: one line of JSON for each test or measurement, as soon as it is done, so that nothing is
 * lost if the program is stopped. scripts/gpu-check.py collects the lines.
 */
#ifndef LLAMA2_CHECK_REPORT_H
#define LLAMA2_CHECK_REPORT_H

#include <math.h>
#include <stdio.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "../model.h"

namespace llama2::check {

/* One line. It is printed when the object is destroyed. */
class Line {
 public:
  explicit Line(const std::string& what) { text("what", what); }
  ~Line() {
    printf("{%s}\n", fields_.c_str());
    fflush(stdout);
  }
  Line(const Line&) = delete;

  Line& number(const char* key, double value) {
    char digits[32];
    snprintf(digits, sizeof digits, "%.7g", value);
    return field(key, std::isfinite(value) ? digits : "null");
  }
  Line& text(const char* key, const std::string& value) {
    std::string quoted = "\"";
    for (const char c : value) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
    return field(key, quoted + "\"");
  }
  Line& yes(const char* key, bool value) { return field(key, value ? "true" : "false"); }

  /* Median, least and largest of several samples. */
  Line& samples(std::vector<double> all, const char* unit) {
    std::sort(all.begin(), all.end());
    const double median = (all[(all.size() - 1) / 2] + all[all.size() / 2]) / 2;
    return number("median", median).number("min", all.front()).number("max", all.back()).text("unit", unit);
  }

 private:
  Line& field(const char* key, const std::string& value) {
    fields_ += (fields_.empty() ? "\"" : ",\"") + std::string(key) + "\":" + value;
    return *this;
  }
  std::string fields_;
};

/* How much there is to do, and until when. */
class Settings {
 public:
  Settings(bool small, bool failFast, double seconds) : small(small), failFast(failFast), seconds_(seconds) {}

  const bool small;     // tiny shapes and few repetitions: for the emulator, and for sanitizers
  const bool failFast;  // the first failed check ends the section
  int samples() const { return small ? 2 : 7; }

  /* Whether there is time for work of about this many seconds. If not, reports that it is skipped. */
  bool allows(const std::string& what, double seconds = 0) const {
    if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count() + seconds < seconds_)
      return true;
    Line(what).text("skipped", "no time left");
    return false;
  }

 private:
  const double seconds_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

inline double secondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/* Records whether each check passed. A section with a failed check ends with an error. */
class Verdicts {
 public:
  explicit Verdicts(const Settings& settings) : failFast_(settings.failFast) {}
  void add(Line& line, bool ok) {
    line.yes("ok", ok);
    all_ = all_ && ok;
    if (!ok && failFast_) throw std::runtime_error("this check failed, and --fail-fast was given");
  }
  bool all() const { return all_; }

 private:
  const bool failFast_;
  bool all_ = true;
};

/* Reports a skip, with the reason, if the card does not have enough memory. */
template <class Work>
void ifItFits(const std::string& what, Work work) {
  try {
    work();
  } catch (const Error& error) {
    if (error.code != Code::kDeviceOom) throw;
    Line(what).text("skipped", error.what());
  }
}

}  // namespace llama2::check

#endif
