/* The sections of the check. Each returns whether all its checks passed; those that only measure return true. */
#ifndef LLAMA2_CHECK_SECTIONS_H
#define LLAMA2_CHECK_SECTIONS_H

#include "report.h"

namespace llama2::check {

// correct.cpp: the forward pass and decoding against the reference
bool checkLogits(const Settings& settings);
bool checkBatches(const Settings& settings);
bool checkText(const Settings& settings);
// rope.cu
bool checkRope(const Settings& settings);
// same.cpp: results do not depend on runs, batches or earlier errors
bool checkRepeats(const Settings& settings);
bool checkSlots(const Settings& settings);
bool checkCopies(const Settings& settings);
bool checkSampler(const Settings& settings);
bool checkMemory(const Settings& settings);
// speed.cpp
bool measureDecode(const Settings& settings);
bool measurePrefill(const Settings& settings);
bool measureBatch(const Settings& settings);
// bandwidth.cu, launches.cu: the limits of the card
bool measureBandwidth(const Settings& settings);
bool measureLaunches(const Settings& settings);

}  // namespace llama2::check

#endif
