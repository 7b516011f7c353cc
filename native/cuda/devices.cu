/* The devices of this machine, and why there are none. */
#include <stdio.h>

#include "host.h"

namespace llama2::cuda {

const char* codeName(Code code) {
  switch (code) {
    case Code::kDeviceUnavailable:
      return "E_DEVICE_UNAVAILABLE";
    case Code::kLimit:
      return "E_LIMIT";
    default:
      return "E_DEVICE";
  }
}

namespace {

std::string versionName(int version) {
  return version == 0 ? "none" : std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string gigabytes(size_t bytes) {
  char text[32];
  snprintf(text, sizeof text, bytes < 100'000'000 ? "%.4f GB" : "%.1f GB", static_cast<double>(bytes) / 1e9);
  return text;
}

}  // namespace

std::string runtimeVersion() {
  int version = 0;
  cudaRuntimeGetVersion(&version);
  return versionName(version);
}

std::string driverVersion() {
  int version = 0;
  cudaDriverGetVersion(&version);
  return versionName(version);
}

std::vector<Device> devices() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    cudaGetLastError();
    const std::string speaks = driverVersion();
    std::string why = status == cudaSuccess ? "no CUDA device" : std::string(cudaGetErrorString(status));
    if (speaks != "none" && std::stod(speaks) < std::stod(runtimeVersion())) {
      why = "the driver speaks CUDA " + speaks + ", this build needs " + runtimeVersion() +
            ": update the driver, or rebuild with an older toolkit";
    }
    throw Error(Code::kDeviceUnavailable, why + " (" + cudaGetErrorName(status) + ")");
  }
  std::vector<Device> all;
  for (int d = 0; d < count; d++) {
    cudaDeviceProp p;
    check(cudaGetDeviceProperties(&p, d), "cudaGetDeviceProperties");
    check(cudaSetDevice(d), "cudaSetDevice");
    size_t available = 0, total = 0;
    check(cudaMemGetInfo(&available, &total), "cudaMemGetInfo");
    all.push_back({p.name, p.major, p.minor, p.multiProcessorCount, total, available});
  }
  return all;
}

void requireFree(size_t bytes, const char* what) {
  size_t available = 0, total = 0;
  check(cudaMemGetInfo(&available, &total), "cudaMemGetInfo");
  if (bytes <= available) return;
  throw Error(Code::kLimit, std::string(what) + " needs " + gigabytes(bytes) + "; this card has " + gigabytes(available) +
                                " free of " + gigabytes(total));
}

}  // namespace llama2::cuda
