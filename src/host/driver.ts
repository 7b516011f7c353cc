/*
 * Finds out why a machine's NVIDIA driver does not work, and the next step to repair it.
 */
import type { NvidiaSmi } from "./nvidia.ts";
import { installing, isContainer, isWsl, type Problem } from "./system.ts";
import type { World } from "./world.ts";

/** The oldest CUDA that builds the backend, and the oldest GPUs that it supports: Turing. */
const OLDEST_CUDA = 12;
const OLDEST_CAPABILITY = 7.5;

/** Whether the machine has an NVIDIA GPU, even if it cannot be used yet. */
export function seesGpu(world: World, smi: NvidiaSmi): boolean {
  return smi.gpus.length > 0 || hasCard(world) || world.exists("/proc/driver/nvidia/version") || hasWslDriver(world);
}

/** Whether all its GPUs are older than the backend supports. Nothing can be done about that. */
export function isTooOld({ gpus }: NvidiaSmi): boolean {
  return gpus.length > 0 && gpus.every(({ capability }) => Number(capability ?? Infinity) < OLDEST_CAPABILITY);
}

const NVIDIA = "0x10de";
const DISPLAY = "0x03";

/** Whether the PCI bus lists an NVIDIA GPU. It does so with or without a driver. */
function hasCard(world: World): boolean {
  const devices = "/sys/bus/pci/devices";
  return world.list(devices).some((device) => {
    const says = (file: string) => world.read(`${devices}/${device}/${file}`) ?? "";
    return says("vendor").startsWith(NVIDIA) && says("class").startsWith(DISPLAY);
  });
}

const hasWslDriver = (world: World): boolean => world.exists("/usr/lib/wsl/lib/libcuda.so.1");

/** What is wrong with the driver, or hides its GPUs; undefined if CUDA should work. */
export async function driverProblem(world: World, smi: NvidiaSmi): Promise<Problem | undefined> {
  if (smi.outcome === "works") return hidden(world, smi) ?? oldDriver(world, smi) ?? oldCards(smi);
  if (smi.outcome === "mismatch") {
    const loaded = world.read("/proc/driver/nvidia/version")?.match(/ (\d+\.\d+(?:\.\d+)?) /)?.[1];
    const reason = `the driver that runs${loaded ? `, ${loaded},` : ""} is not the one that is installed: ${smi.said}`;
    return isContainer(world)
      ? { reason, next: "restart the container, after a restart of the machine it runs on" }
      : { reason, next: "sudo reboot" };
  }
  if (isWsl(world)) return wslProblem(world, smi);
  if (!seesGpu(world, smi)) return { reason: "no NVIDIA GPU is seen" };
  if (world.platform === "win32") return { reason: "there is no NVIDIA driver", next: installing(world, "driver") };
  if (isContainer(world)) return containerProblem(world, smi);
  return world.exists("/proc/driver/nvidia/version") ? loadedProblem(world, smi) : notLoadedProblem(world, smi);
}

/** The driver works, but an environment variable hides the GPUs from CUDA. */
function hidden(world: World, { gpus }: NvidiaSmi): Problem | undefined {
  const visible = world.env.CUDA_VISIBLE_DEVICES;
  if (visible === undefined) return undefined;
  const first = visible.split(",")[0].trim();
  const hides = !/^(\d+|GPU-.+|MIG-.+)$/.test(first) || Number(first) >= gpus.length;
  if (!hides) return undefined;
  const reason = `CUDA_VISIBLE_DEVICES is "${visible}", which hides every GPU`;
  return { reason, next: world.platform === "win32" ? "set CUDA_VISIBLE_DEVICES=" : "unset CUDA_VISIBLE_DEVICES" };
}

function oldDriver(world: World, { gpus: [{ driver = "", cuda }] }: NvidiaSmi): Problem | undefined {
  if (cuda === undefined || Number.parseInt(cuda, 10) >= OLDEST_CUDA) return undefined;
  const reason = `driver ${driver} speaks CUDA ${cuda}, and ${OLDEST_CUDA}.0 is needed: release 525 or newer`;
  return { reason, next: installing(world, "driver") };
}

function oldCards(smi: NvidiaSmi): Problem | undefined {
  if (!isTooOld(smi)) return undefined;
  const [{ name, capability }] = smi.gpus;
  return { reason: `${name} has compute capability ${capability}, and ${OLDEST_CAPABILITY} (Turing) is needed` };
}

function wslProblem(world: World, smi: NvidiaSmi): Problem {
  if (!world.exists("/dev/dxg")) {
    return {
      reason: "this is WSL without GPUs: /dev/dxg is missing",
      next: "wsl --update  # in Windows; WSL 2 is needed",
    };
  }
  if (!hasWslDriver(world)) {
    return {
      reason: "under WSL the driver is that of Windows, and it has none of NVIDIA's",
      next: "install NVIDIA's driver in Windows, and none in WSL: https://www.nvidia.com/drivers",
    };
  }
  return { reason: `NVIDIA's driver of Windows does not answer: ${said(smi)}`, next: "wsl --shutdown  # in Windows" };
}

function containerProblem(world: World, smi: NvidiaSmi): Problem {
  if (!world.exists("/dev/nvidiactl")) {
    return {
      reason: "the machine has an NVIDIA GPU, but this container has none of its device files (/dev/nvidia*)",
      next: "docker run --gpus all ...  # needs nvidia-container-toolkit; podman run --device nvidia.com/gpu=all ...",
    };
  }
  return {
    reason: `this container has the GPU's device files, but the driver's library does not answer: ${said(smi)}`,
    next: "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility ...",
  };
}

/** The kernel has loaded the driver, but it does not respond. */
function loadedProblem(world: World, smi: NvidiaSmi): Problem {
  if (smi.outcome === "missing") {
    return { reason: "the driver is loaded, but its tools are not installed", next: installing(world, "driver") };
  }
  if (!world.exists("/dev/nvidiactl")) {
    return {
      reason: "the driver is loaded, but has no device files (/dev/nvidia*)",
      next: "sudo nvidia-modprobe -c 0 -u",
    };
  }
  return { reason: `the driver is loaded, but does not answer: ${said(smi)}`, next: "sudo dmesg | grep -i NVRM" };
}

/** The driver is not installed, or the kernel cannot load it. */
async function notLoadedProblem(world: World, smi: NvidiaSmi): Promise<Problem> {
  const nouveau = world.exists("/sys/module/nouveau");
  const beside = nouveau ? "; nouveau, which cannot run CUDA, holds the GPU" : "";
  const hasModule = (await world.run("modinfo", ["-n", "nvidia"]))?.status === 0;
  if (!hasModule && smi.outcome === "missing") {
    return { reason: `there is no NVIDIA driver${beside}`, next: installing(world, "driver") };
  }
  if (!hasModule) {
    return {
      reason: `the driver is installed, but not for this kernel (${world.release})`,
      next: `${world.exists("/usr/bin/apt") ? "sudo apt install linux-headers-$(uname -r) && " : ""}sudo dkms autoinstall`,
    };
  }
  const key = await secureBootProblem(world);
  if (key) return key;
  if (nouveau) return nouveauProblem(world);
  return { reason: "the driver is installed, but not loaded", next: "sudo modprobe nvidia" };
}

/** The keys that Ubuntu, Fedora and dkms sign their modules with. */
const KEYS = [
  "/var/lib/shim-signed/mok/MOK.der",
  "/etc/pki/akmods/certs/public_key.der",
  "/var/lib/dkms/mok.pub",
  "/root/dkms.der",
];

/** With Secure Boot, the kernel loads only modules whose signing key is enrolled in the firmware. */
async function secureBootProblem(world: World): Promise<Problem | undefined> {
  const state = await world.run("mokutil", ["--sb-state"]);
  if (!/SecureBoot enabled/i.test(state?.stdout ?? "")) return undefined;
  const key = KEYS.find((path) => world.exists(path));
  if (key === undefined) return undefined;
  const test = await world.run("mokutil", ["--test-key", key]);
  const answer = `${test?.stdout}${test?.stderr}`;
  if (/already enrolled/i.test(answer)) return undefined;
  const pending =
    /already in the enrollment request/i.test(answer) || (await world.run("mokutil", ["--list-new"]))?.stdout;
  const reason = "Secure Boot is on, and the key that signs the driver is not enrolled, so the kernel refuses it";
  return pending
    ? { reason, next: 'sudo reboot  # and in the blue menu: "Enroll MOK", with the password that you chose' }
    : { reason, next: `sudo mokutil --import ${key}  # choose a password: it is asked for once, after a restart` };
}

function nouveauProblem(world: World): Problem {
  const reason = "nouveau, which cannot run CUDA, holds the GPU";
  const folders = ["/etc/modprobe.d", "/lib/modprobe.d", "/usr/lib/modprobe.d"];
  const files = folders.flatMap((folder) => world.list(folder).map((name) => `${folder}/${name}`));
  if (files.some((file) => /^\s*blacklist\s+nouveau/m.test(world.read(file) ?? ""))) {
    return { reason: `${reason} until the next start`, next: "sudo reboot" };
  }
  const rebuild = world.exists("/usr/sbin/update-initramfs") ? "sudo update-initramfs -u" : "sudo dracut --force";
  return {
    reason,
    next: `echo "blacklist nouveau" | sudo tee /etc/modprobe.d/blacklist-nouveau.conf && ${rebuild} && sudo reboot`,
  };
}

const said = ({ said, outcome }: NvidiaSmi): string =>
  said || (outcome === "missing" ? "there is no nvidia-smi" : outcome);
