/*
 * The functions that the host calls. They return the CUDA errors that this project handles; a violation of CUDA's rules
 * throws instead.
 *
 *   EMULATOR_LAZY=1      a stream executes only when something waits for it, as late as CUDA allows
 *   EMULATOR_READ_ONLY=1 loadReadOnly throws for a word that the same launch writes, before or after (slow)
 *   EMULATOR_MEMORY=n    device memory in bytes
 *   EMULATOR_REFUSE=n    the n-th allocation fails although memory seems to be free
 *   EMULATOR_DEVICES=n   number of devices, default 1
 *   EMULATOR_COMPUTE=n   major compute capability, default 7
 *   EMULATOR_BUSY=n      another process uses all memory of device n
 *   EMULATOR_DRIVER=n    CUDA version of the driver, default 12000; 0: no driver
 *   EMULATOR_RUNTIME=n   CUDA version of this build, default 12000
 *   EMULATOR_DRIVER_FILE=path   replaces /proc/driver/nvidia/version
 *   EMULATOR_FAULT=n     the n-th kernel makes an illegal access, after which every call fails
 *   EMULATOR_FOREIGN=1   the kernels were not compiled for this device
 */
#ifndef LLAMA2_EMULATOR_RUNTIME_H
#define LLAMA2_EMULATOR_RUNTIME_H

#include <map>
#include <tuple>
#include <utility>

#include "device.h"

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorDevicesUnavailable = 46,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorUnsupportedPtxVersion = 222,
  cudaErrorNotReady = 600,
  cudaErrorIllegalAddress = 700,
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount, cudaDevAttrL2CacheSize, cudaDevAttrComputeCapabilityMajor };
constexpr unsigned cudaHostAllocMapped = 2, cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2;

struct cudaDeviceProp {
  char name[256];
  int major, minor, multiProcessorCount;
  size_t totalGlobalMem;
};

namespace emulator {

using Work = std::vector<std::function<void()>>;
struct Stream {
  Work queue;
  Work* capture = nullptr;

  void flush() {
    Work work;
    work.swap(queue);
    for (const auto& step : work) step();
  }
};
struct Event {
  Stream* stream;  // the last one on which it was recorded
};

inline size_t settingOr(const char* name, size_t otherwise) {
  const char* value = getenv(name);
  return value ? strtoull(value, nullptr, 10) : otherwise;
}

class Runtime {
 public:
  /* Never destroyed, because other static objects may free device memory at exit. */
  UNWATCHED static Runtime& get() {
    static Runtime& runtime = *new Runtime;
    return runtime;
  }

  const size_t total = settingOr("EMULATOR_MEMORY", size_t{4} << 30);
  const int devices = static_cast<int>(settingOr("EMULATOR_DEVICES", 1));
  const int driver = static_cast<int>(settingOr("EMULATOR_DRIVER", 12000));
  const int runtime = static_cast<int>(settingOr("EMULATOR_RUNTIME", 12000));
  const bool foreign = settingOr("EMULATOR_FOREIGN", 0) != 0;
  const size_t busy = settingOr("EMULATOR_BUSY", size_t(-1));
  size_t device = 0;  // the current one
  size_t used = 0;

  size_t available() const { return device == busy ? 0 : total - used; }

  /* An error that persists after EMULATOR_FAULT. */
  cudaError_t status() const { return fault_ == 0 ? cudaErrorIllegalAddress : cudaSuccess; }

  cudaError_t allocate(void** memory, size_t size) {
    if (status() != cudaSuccess) return status();
    if (--refused_ == 0) return cudaErrorMemoryAllocation;
    if (size > available() || posix_memalign(memory, 256, size) != 0) return cudaErrorMemoryAllocation;
    memset(*memory, 0xff, size);  // NaN
    used += size;
    allocations_[static_cast<char*>(*memory)].size = size;
    protect(true);
    return cudaSuccess;
  }
  void release(void* memory) {
    if (memory == nullptr) return;
    const auto found = allocations_.find(static_cast<char*>(memory));
    if (found == allocations_.end()) throw std::runtime_error("emulator: cudaFree of what is no allocation");
    protect(false);
    used -= found->second.size;
    allocations_.erase(found);
    free(memory);
    protect(true);
  }

  cudaError_t enqueue(Stream* stream, std::function<void()> step) {
    if (stream->capture) {
      stream->capture->push_back(std::move(step));
    } else {
      stream->queue.push_back(std::move(step));
      if (!lazy_) stream->flush();
    }
    return status();
  }

  /* Run work of the device, which may access device memory. */
  template <class F>
  void onDevice(F&& work) {
    protect(false);
    try {
      work();
    } catch (...) {
      protect(true);
      throw;
    }
    protect(true);
  }

  void runKernel(dim3 grid, unsigned threads, size_t shared, bool early, const std::function<void()>& kernel) {
    if (fault_ > 0) fault_--;
    if (status() != cudaSuccess) return;
    onDevice([&] {
      if (!readOnly_) return Grid::get().run(grid, threads, shared, early, kernel);
      for (auto& [start, allocation] : allocations_) allocation.before.assign(start, start + allocation.size);
      loaded_.clear();
      Grid::get().run(grid, threads, shared, early, kernel);
      for (const auto& [address, value] : loaded_) {
        if (memcmp(address, &value, sizeof value) != 0) refuseLoad();
      }
    });
  }

  uint4 loadReadOnly(const uint4* from) {
    const uint4 value = *from;
    if (!readOnly_) return value;
    const char* address = reinterpret_cast<const char*>(from);
    const auto found = --allocations_.upper_bound(const_cast<char*>(address));
    if (memcmp(&found->second.before[address - found->first], &value, sizeof value) != 0) refuseLoad();
    loaded_.emplace_back(from, value);
    return value;
  }

  bool isDevice(const void* address, size_t size) const {
    auto found = allocations_.upper_bound(static_cast<char*>(const_cast<void*>(address)));
    if (found == allocations_.begin()) return false;
    --found;
    return static_cast<const char*>(address) + size <= found->first + found->second.size;
  }

 private:
  struct Allocation {
    size_t size;
    std::vector<char> before;  // its content when the launch began
  };

  [[noreturn]] static void refuseLoad() {
    throw std::runtime_error("emulator: a read-only load of a word that the same launch writes");
  }

  /* With AddressSanitizer, make host access to device memory an error. */
  void protect([[maybe_unused]] bool on) {
    IF_ASAN(for (const auto& [start, allocation]
                 : allocations_) {
      if (on) {
        __asan_poison_memory_region(start, allocation.size);
      } else {
        __asan_unpoison_memory_region(start, allocation.size);
      }
    })
  }

  const bool lazy_ = settingOr("EMULATOR_LAZY", 0) != 0;
  const bool readOnly_ = settingOr("EMULATOR_READ_ONLY", 0) != 0;
  long refused_ = static_cast<long>(settingOr("EMULATOR_REFUSE", 0));        // allocations until then
  long fault_ = static_cast<long>(settingOr("EMULATOR_FAULT", size_t(-1)));  // kernels until then
  std::map<char*, Allocation> allocations_;
  std::vector<std::pair<const uint4*, uint4>> loaded_;
};

}  // namespace emulator

using cudaStream_t = emulator::Stream*;
using cudaEvent_t = emulator::Event*;
using cudaGraph_t = emulator::Work*;
using cudaGraphExec_t = emulator::Work*;

inline const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoKernelImageForDevice:
      return "cudaErrorNoKernelImageForDevice";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    default:
      return "cudaErrorInvalidValue";
  }
}
inline const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }

inline cudaError_t cudaGetDeviceCount(int* count) {
  const auto& runtime = emulator::Runtime::get();
  if (runtime.driver / 1000 < runtime.runtime / 1000) return cudaErrorInsufficientDriver;
  *count = runtime.devices;
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
inline cudaError_t cudaSetDevice(int device) {
  if (device >= emulator::Runtime::get().devices) return cudaErrorInvalidDevice;
  emulator::Runtime::get().device = static_cast<size_t>(device);
  return cudaSuccess;
}
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  // few multiprocessors, so that small matrices take several rounds of a grid
  const int major = static_cast<int>(emulator::settingOr("EMULATOR_COMPUTE", 7));
  *properties = {"emulator", major, major == 7 ? 5 : 0, 2, emulator::Runtime::get().total};
  return device < emulator::Runtime::get().devices ? cudaSuccess : cudaErrorInvalidDevice;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int device) {
  cudaDeviceProp properties;
  const cudaError_t status = cudaGetDeviceProperties(&properties, device);
  *value = which == cudaDevAttrMultiProcessorCount ? properties.multiProcessorCount
           : which == cudaDevAttrL2CacheSize       ? 1 << 20
                                                   : properties.major;
  return status;
}
inline cudaError_t cudaDriverGetVersion(int* version) {
  *version = emulator::Runtime::get().driver;
  return cudaSuccess;
}
inline cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = emulator::Runtime::get().runtime;
  return cudaSuccess;
}

inline cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  *total = emulator::Runtime::get().total;
  *available = emulator::Runtime::get().available();
  return emulator::Runtime::get().status();
}
inline cudaError_t cudaMalloc(void** memory, size_t size) { return emulator::Runtime::get().allocate(memory, size); }
inline cudaError_t cudaFree(void* memory) {
  emulator::Runtime::get().release(memory);
  return cudaSuccess;
}
inline cudaError_t cudaHostAlloc(void** memory, size_t size, unsigned) {
  *memory = calloc(size, 1);
  return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}
inline cudaError_t cudaFreeHost(void* memory) {
  free(memory);
  return cudaSuccess;
}

inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new emulator::Stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  stream->flush();
  delete stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  stream->flush();
  return emulator::Runtime::get().status();
}
/* A query executes a lazy stream, since nothing else would. */
inline cudaError_t cudaStreamQuery(cudaStream_t stream) { return cudaStreamSynchronize(stream); }

inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new emulator::Event{};
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->stream = stream;
  return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->stream) event->stream->flush();
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t size, cudaMemcpyKind kind, cudaStream_t stream) {
  auto& runtime = emulator::Runtime::get();
  const bool toDevice = kind != cudaMemcpyDeviceToHost, fromDevice = kind != cudaMemcpyHostToDevice;
  if (runtime.isDevice(to, size) != toDevice || runtime.isDevice(from, size) != fromDevice)
    return cudaErrorInvalidValue;
  return runtime.enqueue(stream, [=, &runtime] { runtime.onDevice([&] { memcpy(to, from, size); }); });
}
inline cudaError_t cudaMemsetAsync(void* memory, int value, size_t size, cudaStream_t stream) {
  auto& runtime = emulator::Runtime::get();
  if (!runtime.isDevice(memory, size)) return cudaErrorInvalidValue;
  return runtime.enqueue(stream, [=, &runtime] { runtime.onDevice([&] { memset(memory, value, size); }); });
}

inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream->capture = new emulator::Work;
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = std::exchange(stream->capture, nullptr);
  return *graph ? cudaSuccess : cudaErrorInvalidValue;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new emulator::Work(*graph);
  return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  for (const auto& step : *exec) emulator::Runtime::get().enqueue(stream, step);
  return emulator::Runtime::get().status();
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}

namespace llama2::cuda {

inline const char* driverFile() {
  const char* path = getenv("EMULATOR_DRIVER_FILE");
  return path ? path : "";
}

inline uint4 loadReadOnly(const uint4* from) { return emulator::Runtime::get().loadReadOnly(from); }

struct Launch {
  dim3 grid;
  unsigned threads;
  size_t shared;  // bytes
  cudaStream_t stream;
  bool early;
};

template <class... P, class... A>
cudaError_t launch(const Launch& how, void (*kernel)(P...), A&&... arguments) {
  const dim3& grid = how.grid;
  if (how.threads == 0 || how.threads % 32 != 0 || how.threads > emulator::kMostThreads || grid.x == 0 || grid.y == 0 ||
      grid.z == 0 || grid.y > 65535 || grid.z > 65535) {
    return cudaErrorInvalidConfiguration;
  }
  if (how.shared > emulator::kSharedLimit) return cudaErrorInvalidValue;
  if (emulator::Runtime::get().foreign) return cudaErrorNoKernelImageForDevice;
  std::tuple<P...> values(static_cast<P>(std::forward<A>(arguments))...);  // as they are now, as in CUDA
  return emulator::Runtime::get().enqueue(how.stream, [=] {
    emulator::Runtime::get().runKernel(grid, how.threads, how.shared, how.early, [&] { std::apply(kernel, values); });
  });
}

}  // namespace llama2::cuda

#endif
