/* Failures that a user can meet. Each has the code of the JavaScript error that native/addon/guard.h turns it into. */
#ifndef LLAMA2_ERROR_H
#define LLAMA2_ERROR_H

#include <stdexcept>
#include <string>

namespace llama2 {

enum class Code {
  kDeviceUnavailable,  // no driver, no device, a driver that is too old, no such device, no code for it
  kDeviceOom,   // the model or the context does not fit on the device; nothing has changed, a smaller one may fit
  kDeviceLost,  // a kernel or a copy failed; the process cannot use this device any more
};

inline const char* codeName(Code code) {
  switch (code) {
    case Code::kDeviceUnavailable:
      return "E_DEVICE_UNAVAILABLE";
    case Code::kDeviceOom:
      return "E_DEVICE_OOM";
    default:
      return "E_DEVICE_LOST";
  }
}

struct Error : std::runtime_error {
  Error(Code code, const std::string& message) : std::runtime_error(message), code(code) {}
  Code code;
};

}  // namespace llama2

#endif
