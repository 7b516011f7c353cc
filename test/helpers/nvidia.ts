/*
 * What nvidia-smi, mokutil and other tools print on machines that no test runs on. None of it was recorded: it is
 * written from NVIDIA's documentation (the manual of nvidia-smi with its query fields and return values, the
 * driver's README, the
 * guides for containers and WSL) and from mokutil's manual.
 */
import type { Described } from "./world.ts";

const FIELDS =
  "index,uuid,name,driver_version,memory.total,memory.used,memory.free,temperature.gpu,power.draw,power.limit,utilization.gpu";
const FORMAT = "--format=csv,noheader,nounits";
export const QUERY = `nvidia-smi --query-gpu=${FIELDS},compute_cap ${FORMAT}`;
export const QUERY_OF_OLD_DRIVERS = `nvidia-smi --query-gpu=${FIELDS} ${FORMAT}`;
export const PROCESSES = `nvidia-smi --query-compute-apps=gpu_uuid,pid,used_gpu_memory,process_name ${FORMAT}`;

/** The head of its table, where it says which CUDA the driver speaks. */
const table = (driver: string, cuda: string) => `\
+---------------------------------------------------------------------------------------+
| NVIDIA-SMI ${driver}             Driver Version: ${driver}   CUDA Version: ${cuda}     |
|-----------------------------------------+----------------------+----------------------+
`;

export const RTX_4070 =
  "0, GPU-a1, NVIDIA GeForce RTX 4070, 535.183.01, 12282, 355, 11597, 41, 11.75, 200.00, 3, 8.9\n";

/** A machine whose nvidia-smi works. */
export const smi = (gpus: string, driver = "535.183.01", cuda = "12.2", processes = ""): Described => ({
  commands: {
    [QUERY]: gpus,
    [PROCESSES]: processes,
    "nvidia-smi ": table(driver, cuda),
    "nvidia-smi": table(driver, cuda),
  },
});

/** Its messages, with its return values: 9 the driver is not loaded, 18 NVML's version mismatch, 6 nothing was
 * found. */
export const NO_DRIVER: [string, number] = [
  "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running.\n",
  9,
];
export const MISMATCH: [string, number] = [
  "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.183\n",
  18,
];
export const NO_DEVICES: [string, number] = ["No devices were found\n", 6];

/** On the PCI bus. */
export const CARD: Described = {
  files: {
    "/sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
    "/sys/bus/pci/devices/0000:01:00.0/class": "0x030000\n",
    "/sys/bus/pci/devices/0000:00:02.0/vendor": "0x8086\n",
    "/sys/bus/pci/devices/0000:00:02.0/class": "0x030000\n",
  },
};

export const UBUNTU: Described = {
  release: "6.8.0-40-generic",
  files: {
    "/etc/os-release": 'NAME="Ubuntu"\nVERSION_ID="22.04"\nID=ubuntu\nID_LIKE=debian\n',
    "/usr/bin/apt": "",
    "/usr/sbin/update-initramfs": "",
  },
};

/** The kernel's side of the driver, and the device files. */
export const LOADED: Described = {
  files: {
    "/proc/driver/nvidia/version":
      "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\nGCC version:  gcc version 12.3.0\n",
    "/dev/nvidiactl": "",
    "/dev/nvidia0": "",
  },
};

export const MODULE: Described = {
  commands: { "modinfo -n nvidia": "/lib/modules/6.8.0-40-generic/updates/dkms/nvidia.ko\n" },
};

export const nvcc = (release: string) =>
  `nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release ${release}, V${release}.140\n`;
