/* Finding devices, explaining why there are none, and translating CUDA errors. */
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include "host.h"

namespace llama2::cuda {

namespace {

constexpr int kOldestToolkit = 12;  // the oldest CUDA toolkit that can build this

int driver() {
  int version = 0;
  cudaDriverGetVersion(&version);
  return version;
}

int runtime() {
  int version = 0;
  cudaRuntimeGetVersion(&version);
  return version;
}

/* 12020 is "12.2". */
std::string versionName(int version) {
  return version == 0 ? "none" : std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

/* "535", from a line like "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  ..."; "" if unknown. */
std::string driverRelease() {
  std::ifstream file(driverFile());
  for (std::string word; file >> word;) {
    const size_t dot = word.find('.');
    if (dot == 3 && word.find_first_not_of("0123456789.") == std::string::npos) return word.substr(0, dot);
  }
  return "";
}

/* The oldest driver release that supports the CUDA version of this build. */
std::string neededRelease() {
  const int major = runtime() / 1000;
  return major == 12 ? " (release 525 or newer)" : major == 13 ? " (release 580 or newer)" : "";
}

/* Why there is no device. */
std::string whyNone(cudaError_t status) {
  if (driver() == 0) {
    return "there is no NVIDIA driver: install one that speaks CUDA " + versionName(runtime()) + neededRelease();
  }
  if (status == cudaErrorInsufficientDriver) {
    const std::string release = driverRelease();
    const int major = driver() / 1000;
    return (release.empty() ? "the driver" : "driver " + release) + " speaks CUDA " + versionName(driver()) +
           ", this build needs " + versionName(runtime()) + ": update the driver" +
           (major < kOldestToolkit ? "" : ", or rebuild with a " + std::to_string(major) + ".x toolkit");
  }
  if (status != cudaSuccess && status != cudaErrorNoDevice) {
    return std::string(cudaGetErrorString(status)) + " (" + cudaGetErrorName(status) + ")";
  }
  const char* visible = getenv("CUDA_VISIBLE_DEVICES");
  return "there is no NVIDIA GPU" + (visible ? std::string(": CUDA_VISIBLE_DEVICES is \"") + visible + "\"" : "");
}

std::string gigabytes(size_t bytes) {
  char text[32];
  snprintf(text, sizeof text, bytes < 100'000'000 ? "%.4f GB" : "%.1f GB", static_cast<double>(bytes) / 1e9);
  return text;
}

}  // namespace

void fail(cudaError_t status, const char* what) {
  cudaGetLastError();  // clears an error that is not sticky
  const std::string message = std::string(what) + ": " + cudaGetErrorName(status) + ", " + cudaGetErrorString(status);
  switch (status) {
    case cudaErrorMemoryAllocation:
      throw Error(Code::kDeviceOom, message);
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      throw Error(Code::kDeviceUnavailable,
                  "this build has no code for this card: `npm run build:cuda` rebuilds it (" + message + ")");
    case cudaErrorDevicesUnavailable:
      throw Error(Code::kDeviceUnavailable, "another process has this card for itself (" + message + ")");
    default:
      throw Error(Code::kDeviceLost, message);
  }
}

std::string runtimeVersion() { return versionName(runtime()); }
std::string driverVersion() { return versionName(driver()); }

std::vector<Device> devices() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    cudaGetLastError();
    throw Error(Code::kDeviceUnavailable, whyNone(status));
  }
  std::vector<Device> all;
  for (int d = 0; d < count; d++) {
    cudaDeviceProp p;
    check(cudaGetDeviceProperties(&p, d), "cudaGetDeviceProperties");
    all.push_back({p.name, p.major, p.minor, p.multiProcessorCount, p.totalGlobalMem});
  }
  return all;
}

size_t freeMemory(int device) {
  const std::vector<Device> all = devices();
  if (device < 0 || device >= static_cast<int>(all.size())) {
    std::string there;
    for (size_t d = 0; d < all.size(); d++) there += (d > 0 ? ", " : "") + std::to_string(d) + ": " + all[d].name;
    throw Error(Code::kDeviceUnavailable,
                "there is no device " + std::to_string(device) + "; this machine has " + there);
  }
  check(cudaSetDevice(device), "cudaSetDevice");
  size_t available = 0, total = 0;
  check(cudaMemGetInfo(&available, &total), "cudaMemGetInfo");
  return available;
}

double copyBandwidth(int device, size_t bytes, double seconds) {
  constexpr int kCopies = 5;  // between two looks at the clock
  const size_t size = std::max(size_t{4096}, std::min(bytes, freeMemory(device) / 4));
  const Buffer<uint8_t> from(size), to(size);
  const Stream stream;
  check(cudaMemsetAsync(from.get(), 0x5a, size, stream.get()), "cudaMemsetAsync");
  const auto copy = [&] {
    for (int i = 0; i < kCopies; i++) {
      check(cudaMemcpyAsync(to.get(), from.get(), size, cudaMemcpyDeviceToDevice, stream.get()), "cudaMemcpyAsync");
    }
    stream.wait();
  };
  copy();
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  double copied = 0, elapsed = 0;
  do {
    copy();
    copied += 2.0 * size * kCopies;
    elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  } while (elapsed < seconds);
  return copied / elapsed;
}

void requireFree(size_t bytes, const char* what) {
  size_t available = 0, total = 0;
  check(cudaMemGetInfo(&available, &total), "cudaMemGetInfo");
  if (bytes <= available) return;
  throw Error(Code::kDeviceOom, std::string(what) + " needs " + gigabytes(bytes) + "; this card has " +
                                    gigabytes(available) + " free of " + gigabytes(total));
}

}  // namespace llama2::cuda
