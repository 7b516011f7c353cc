/* Turns C++ exceptions into JavaScript errors. */
#ifndef LLAMA2_ADDON_GUARD_H
#define LLAMA2_ADDON_GUARD_H

#include <napi.h>

#include <exception>
#include <new>
#include <system_error>

#include "../error.h"

/* Thrown for invalid arguments. */
struct BadArgument {
  const char* what;
};

/* Runs `work` and returns its result. If it throws, a JavaScript exception is pending, and the result is T(). */
template <typename T, typename Work>
T guarded(Napi::Env env, Work&& work) {
  const auto raise = [&](const char* code, const char* message) {
    Napi::Error error = Napi::Error::New(env, message);
    if (code != nullptr) error.Set("code", Napi::String::New(env, code));
    error.ThrowAsJavaScriptException();
  };
  try {
    return work();
  } catch (const BadArgument& bad) {
    Napi::TypeError::New(env, bad.what).ThrowAsJavaScriptException();
  } catch (const llama2::Error& error) {
    raise(llama2::codeName(error.code), error.what());
  } catch (const std::bad_alloc&) {
    raise("E_LIMIT", "out of memory");
  } catch (const std::system_error& error) {
    raise("E_LIMIT", error.what());
  } catch (const std::exception& error) {
    raise(nullptr, error.what());
  }
  return T();
}

#endif
