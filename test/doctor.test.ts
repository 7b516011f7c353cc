/*
 * What is wrong with a machine, and the one next step. The machines are made up: helpers/nvidia.ts names the sources.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import type { Backend } from "../src/backend/backend.ts";
import type { BackendName } from "../src/backend/names.ts";
import { openBackend } from "../src/backend/openers.ts";
import { ts } from "../src/backend/ts/ts.ts";
import { type Diagnosis, diagnose, doctor } from "../src/doctor.ts";
import { checkApart, checkBackend } from "../src/doctorCheck.ts";
import { Llama2Error } from "../src/errors.ts";
import { hasAddon, needsAddon } from "./helpers/backends.ts";
import { llama2 } from "./helpers/cli.ts";
import {
  CARD,
  LOADED,
  MISMATCH,
  MODULE,
  NO_DEVICES,
  NO_DRIVER,
  nvcc,
  RTX_4070,
  smi,
  UBUNTU,
} from "./helpers/nvidia.ts";
import { tempDir } from "./helpers/temp.ts";
import { type Described, worldOf } from "./helpers/world.ts";

const unavailable = (message: string) => new Llama2Error("E_DEVICE_UNAVAILABLE", message);
const NOT_BUILT = "the CUDA addon has not been built: `npm run build:cuda` builds it";

/** The CPU's backends work; cuda as is said: its error, or "works". */
const openers = (cuda: string) => async (name: BackendName) => {
  if (name === "cuda" && cuda !== "works") throw unavailable(cuda);
  return { ...ts, name };
};

/** Tried in this process. */
const here = (open: (name: BackendName) => Promise<Backend>) => async (name: BackendName) => {
  return checkBackend(await open(name));
};

async function cudaOf(described: Described[], cuda = NOT_BUILT) {
  const found = await diagnose(worldOf(...described), here(openers(cuda)));
  const { works, reason, next } = found.backends[0];
  return { works, reason, next, well: found.well, advice: found.advice };
}

/** The driver works. */
const DRIVER = [UBUNTU, CARD, LOADED, smi(RTX_4070)];
const TOOLS: Described = { commands: { "g++": "g++ 11.4", cmake: "cmake version 3.22.1" } };
const KEY = "/var/lib/shim-signed/mok/MOK.der";
const secureBoot = (test: string, pending = ""): Described => ({
  files: { [KEY]: "" },
  commands: {
    "mokutil --sb-state": "SecureBoot enabled\n",
    [`mokutil --test-key ${KEY}`]: [`${KEY} ${test}\n`, test.includes("already") ? 1 : 0],
    "mokutil --list-new": pending,
  },
});

describe("from no driver to a running model, with an RTX 4070, driver 535, CUDA 12.2, Ubuntu 22.04 and Secure Boot", () => {
  const installed: Described[] = [UBUNTU, CARD, MODULE, { commands: { "nvidia-smi": NO_DRIVER } }];
  const nouveau: Described = { files: { "/sys/module/nouveau/refcnt": "1" } };
  const blacklisted: Described = { files: { "/lib/modprobe.d/nvidia-graphics-drivers.conf": "blacklist nouveau\n" } };
  const source: Described = { files: { "/etc/apt/sources.list.d/cuda-ubuntu2204-x86_64.list": "" } };
  const toolkit: Described = { commands: { "/usr/local/cuda/bin/nvcc": nvcc("12.2") } };

  it.each<[string, Described[], string, string]>([
    ["there is no driver", [UBUNTU, CARD, nouveau], "there is no NVIDIA driver", "sudo ubuntu-drivers install"],
    [
      "its key is not enrolled",
      [...installed, nouveau, blacklisted, secureBoot("is not enrolled")],
      "Secure Boot is on",
      `sudo mokutil --import ${KEY}`,
    ],
    [
      "its key waits to be enrolled",
      [...installed, nouveau, blacklisted, secureBoot("is not enrolled", "[key 1]\nOwner: ...")],
      "Secure Boot is on",
      'sudo reboot  # and in the blue menu: "Enroll MOK"',
    ],
    [
      "nouveau still runs",
      [...installed, nouveau, blacklisted, secureBoot("is already enrolled")],
      "nouveau, which cannot run CUDA, holds the GPU until the next start",
      "sudo reboot",
    ],
    [
      "the driver is not loaded",
      [...installed, blacklisted, secureBoot("is already enrolled")],
      "the driver is installed, but not loaded",
      "sudo modprobe nvidia",
    ],
    [
      "there is no CUDA toolkit",
      DRIVER,
      "the CUDA addon has not been built, and there is no nvcc",
      "wget https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2204/x86_64/cuda-keyring_1.1-1_all.deb",
    ],
    ["NVIDIA's packages are known", [...DRIVER, source], "there is no nvcc", "sudo apt install cuda-toolkit-12-2"],
    [
      "there is no C++ compiler",
      [...DRIVER, source, toolkit],
      "there is no C++ compiler",
      "sudo apt install build-essential python3",
    ],
    [
      "there is no cmake",
      [...DRIVER, source, toolkit, { commands: { "g++": "g++ 11.4" } }],
      "there is no cmake",
      "sudo apt install cmake",
    ],
    ["the addon can be built", [...DRIVER, toolkit, TOOLS], "the CUDA addon has not been built", "npm run build:cuda"],
  ])("when %s, says so and gives the one next command", async (_, described, reason, next) => {
    const found = await cudaOf(described);
    expect(found.works).toBe(false);
    expect(found.reason).toContain(reason);
    expect(found.next?.startsWith(next), found.next).toBe(true);
    expect(found.well).toBe(false);
    expect(found.advice).toEqual([`for the cuda backend: ${found.next}`]);
  });

  it("when the addon is built and loads, nothing is left to do", async () => {
    const found = await cudaOf(DRIVER, "works");
    expect(found).toMatchObject({ works: true, well: true });
    expect(found.advice).toEqual(["nothing: auto takes cuda, the fastest backend here"]);
  });
});

describe("a driver that works beside an addon that does not", () => {
  const NEWER = "driver 535 speaks CUDA 12.2, this build needs 13.0: update the driver, or rebuild with a 12.x toolkit";
  const source: Described = { files: { "/etc/apt/sources.list.d/cuda-ubuntu2204-x86_64.list": "" } };

  it("names the older toolkit to install, where only the newer one is installed", async () => {
    const found = await cudaOf([...DRIVER, source, TOOLS, { commands: { nvcc: nvcc("13.0") } }], NEWER);
    expect(found).toMatchObject({ reason: NEWER, next: "sudo apt install cuda-toolkit-12-2" });
  });

  it("names the older toolkit to build with, where both are installed", async () => {
    const both: Described = {
      files: { "/usr/local/cuda-12.2/bin/nvcc": "", "/usr/local/cuda-13.0/bin/nvcc": "" },
      commands: {
        nvcc: nvcc("13.0"),
        "/usr/local/cuda-13.0/bin/nvcc": nvcc("13.0"),
        "/usr/local/cuda-12.2/bin/nvcc": nvcc("12.2"),
      },
    };
    const found = await cudaOf([...DRIVER, TOOLS, both], NEWER);
    expect(found.next).toBe("CUDACXX=/usr/local/cuda-12.2/bin/nvcc npm run build:cuda");
  });

  it("nvcc 11 is reported as too old", async () => {
    const found = await cudaOf([...DRIVER, TOOLS, source, { commands: { nvcc: nvcc("11.5") } }]);
    expect(found.reason).toContain("nvcc is 11.5, and 12.0 or newer is needed");
    expect(found.next).toBe("sudo apt install cuda-toolkit-12-2");
  });
});

describe("an obstacle to CUDA", () => {
  const WSL: Described = { release: "5.15.153.1-microsoft-standard-WSL2" };
  const docker: Described = { files: { "/.dockerenv": "" } };
  const version: Described = {
    files: { "/proc/driver/nvidia/version": LOADED.files?.["/proc/driver/nvidia/version"] ?? "" },
  };
  const fedora: Described = { files: { "/etc/os-release": "ID=fedora\nVERSION_ID=42\n" } };

  it.each<[string, Described[], string, string | undefined]>([
    [
      "another version of the library than of the driver",
      [UBUNTU, CARD, LOADED, { commands: { "nvidia-smi": MISMATCH } }],
      "the driver that runs, 535.183.01, is not the one that is installed",
      "sudo reboot",
    ],
    [
      "a driver older than CUDA 12",
      [
        UBUNTU,
        CARD,
        LOADED,
        smi("0, GPU-a, NVIDIA A10, 470.256.02, 23028, 1, 23027, 30, 8.1, 150, 0, 8.6\n", "470.256.02", "11.4"),
      ],
      "driver 470.256.02 speaks CUDA 11.4, and 12.0 is needed",
      "sudo ubuntu-drivers install",
    ],
    [
      "nouveau, which nobody has blacklisted",
      [UBUNTU, CARD, MODULE, { files: { "/sys/module/nouveau/refcnt": "1" }, commands: { "nvidia-smi": NO_DRIVER } }],
      "nouveau, which cannot run CUDA, holds the GPU",
      'echo "blacklist nouveau" | sudo tee /etc/modprobe.d/blacklist-nouveau.conf && sudo update-initramfs -u && sudo reboot',
    ],
    [
      "a driver that was not built for this kernel",
      [UBUNTU, CARD, { commands: { "nvidia-smi": NO_DRIVER } }],
      "not for this kernel (6.8.0-40-generic)",
      "sudo apt install linux-headers-$(uname -r) && sudo dkms autoinstall",
    ],
    [
      "no driver, on Fedora",
      [fedora, CARD],
      "there is no NVIDIA driver",
      "sudo dnf install akmod-nvidia  # from RPM Fusion",
    ],
    [
      "a container without device files",
      [UBUNTU, docker, version],
      "this container has none of its device files",
      "docker run --gpus all ...  # needs nvidia-container-toolkit; podman run --device nvidia.com/gpu=all ...",
    ],
    [
      "a container without the driver's library",
      [UBUNTU, docker, LOADED],
      "the driver's library does not answer: there is no nvidia-smi",
      "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility ...",
    ],
    [
      "device files that nobody has made",
      [UBUNTU, CARD, version, { commands: { "nvidia-smi": NO_DEVICES } }],
      "no device files",
      "sudo nvidia-modprobe -c 0 -u",
    ],
    [
      "a GPU that the driver has lost",
      [UBUNTU, CARD, LOADED, { commands: { "nvidia-smi": NO_DEVICES } }],
      "does not answer: No devices were found",
      "sudo dmesg | grep -i NVRM",
    ],
    [
      "an empty CUDA_VISIBLE_DEVICES",
      [...DRIVER, { env: { CUDA_VISIBLE_DEVICES: "" } }],
      'CUDA_VISIBLE_DEVICES is "", which hides every GPU',
      "unset CUDA_VISIBLE_DEVICES",
    ],
    [
      "a CUDA_VISIBLE_DEVICES with a GPU that is not there",
      [...DRIVER, { env: { CUDA_VISIBLE_DEVICES: "1" } }],
      'CUDA_VISIBLE_DEVICES is "1"',
      "unset CUDA_VISIBLE_DEVICES",
    ],
    ["WSL without GPUs", [UBUNTU, WSL], "this is WSL without GPUs", "wsl --update  # in Windows; WSL 2 is needed"],
    [
      "WSL beside a Windows without the driver",
      [UBUNTU, WSL, { files: { "/dev/dxg": "" } }],
      "under WSL the driver is that of Windows",
      "install NVIDIA's driver in Windows, and none in WSL: https://www.nvidia.com/drivers",
    ],
  ])("is named, with the next step: %s", async (_, described, reason, next) => {
    const found = await cudaOf(described);
    expect(found.reason).toContain(reason);
    expect(found.next).toBe(next);
  });

  it("under WSL, nvidia-smi is run from where Windows puts it", async () => {
    const { commands = {} } = smi(RTX_4070);
    const inWsl = Object.entries(commands).map(([line, said]) => [
      line.replace("nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi"),
      said,
    ]);
    const found = await cudaOf([UBUNTU, WSL, { commands: Object.fromEntries(inWsl) }], "works");
    expect(found).toMatchObject({ works: true, well: true });
  });

  it("with a GPU older than Turing, a machine without cuda has no problem", async () => {
    const found = await cudaOf([
      UBUNTU,
      CARD,
      LOADED,
      smi("0, GPU-a, NVIDIA GeForce GTX 1080, 535.183.01, 8192, 1, 8191, 30, 8.1, 180, 0, 6.1\n"),
    ]);
    expect(found.reason).toBe("NVIDIA GeForce GTX 1080 has compute capability 6.1, and 7.5 (Turing) is needed");
    expect(found).toMatchObject({ next: undefined, well: true });
  });

  it("without a GPU, a machine without cuda has no problem and no next step", async () => {
    const found = await cudaOf([UBUNTU]);
    expect(found).toMatchObject({ works: false, reason: "no NVIDIA GPU is seen", next: undefined, well: true });
  });
});

describe("the cpu backend", () => {
  const NATIVE = "the native addon has not been built: `npm run build:native` builds it";
  const withoutCpu = async (name: BackendName): Promise<Backend> => {
    if (name === "cpu" || name === "cuda") throw unavailable(name === "cpu" ? NATIVE : NOT_BUILT);
    return { ...ts, name };
  };

  it("that is not built is a problem, and the next step is to build it", async () => {
    const found = await diagnose(worldOf(UBUNTU, TOOLS), here(withoutCpu));
    expect(found.well).toBe(false);
    expect(found.backends[1]).toMatchObject({
      name: "cpu",
      works: false,
      reason: NATIVE,
      next: "npm run build:native",
    });
  });

  it("that is not built, without a compiler, needs a compiler first", async () => {
    const found = await diagnose(worldOf(UBUNTU), here(withoutCpu));
    expect(found.backends[1].next).toBe("sudo apt install build-essential python3");
    expect(found.advice).toEqual(["for the cpu backend: sudo apt install build-essential python3"]);
  });
});

describe("the check", () => {
  it("calls a backend that computes other bits broken, and says which precision", async () => {
    const off: Backend = {
      ...ts,
      name: "cpu",
      async load(...args) {
        const model = await ts.load(...args);
        const isInt8 = args[0].formatOf("wq") !== "float32";
        return {
          ...model,
          openContext(sequences) {
            const context = model.openContext(sequences);
            const forward: typeof context.forward = (batch, wanted) => {
              const logits = context.forward(batch, wanted);
              if (isInt8) logits[3] += 1e-6;
              return logits;
            };
            return { ...context, forward };
          },
        };
      },
    };
    const open = async (name: BackendName) => (name === "cpu" ? off : { ...ts, name });
    const { backends, checks, well } = await diagnose(worldOf(UBUNTU), here(open));
    expect(backends[1]).toMatchObject({
      works: false,
      reason: "it computes other logits than the reference (int8)",
      next: "npm run build:native",
    });
    expect(checks.filter(({ same }) => !same).map(({ backend, precision }) => [backend, precision])).toEqual([
      ["cpu", "int8"],
    ]);
    expect(well).toBe(false);
  });
});

describe("a backend that ends its process", () => {
  const script = (body: string) => {
    const path = join(tempDir(), "child.mjs");
    writeFileSync(path, body);
    return pathToFileURL(path);
  };

  it.each<[what: string, body: string, how: string, longestMs: number]>([
    ["crashes", 'process.kill(process.pid, "SIGSEGV"); setInterval(() => {}, 1000)', "ended with SIGSEGV", 60_000],
    ["ends", "process.exit(7)", "ended with status 7", 60_000],
    ["hangs", "for (;;);", "was not done after 0.5 s", 500],
  ])("and %s does not end doctor", async (_, body, how, longestMs) => {
    const crashing = async (name: BackendName) => {
      return name === "cpu" ? checkApart(name, script(body), longestMs) : checkBackend({ ...ts, name });
    };
    const { backends, well } = await diagnose(worldOf(UBUNTU), crashing);
    expect(backends[1]).toMatchObject({
      works: false,
      reason: `the process that tried it ${how}`,
      next: "npm run build:native",
    });
    expect(backends[2].works).toBe(true);
    expect(well).toBe(false);
  });
});

describe("this machine", () => {
  it.skipIf(!hasAddon)(`computes the same bits on cpu, wasm and ts, in float32 and int8${needsAddon}`, async () => {
    const { checks, machine } = await doctor();
    const exact = checks.filter(({ backend }) => backend !== "cuda");
    expect(exact.map(({ backend }) => backend)).toEqual(["cpu", "cpu", "wasm", "wasm", "ts", "ts"]);
    expect(exact.every(({ same }) => same)).toBe(true);
    expect(new Set(exact.map(({ logitsSha256 }) => logitsSha256)).size).toBe(2);
    expect(machine.isa).toBe((await openBackend("cpu")).isa);
  });

  it("is printed in at most 80 columns", async () => {
    const { stdout } = await llama2(["doctor"]);
    const lines = stdout.toString().trimEnd().split("\n");
    for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(80);
    expect(lines.length).toBeLessThan(24);
    for (const name of ["cuda", "cpu", "wasm", "ts"])
      expect(stdout.toString()).toMatch(new RegExp(`^${name} +(works|no)`, "m"));
  });

  it("is one JSON object, and its status says whether the best backend works", async () => {
    const { stdout, code } = await llama2(["doctor", "--json"]);
    const found: Diagnosis = JSON.parse(stdout.toString());
    expect(Object.keys(found)).toEqual(["version", "machine", "backends", "gpus", "nccl", "checks", "advice"]);
    expect(found.backends.map(({ name }) => name)).toEqual(["cuda", "cpu", "wasm", "ts"]);
    const works = (wanted: BackendName) => found.backends.some(({ name, works }) => name === wanted && works);
    if (found.gpus.length === 0) expect(code).toBe(works("cpu") ? 0 : 1);
  });
});
