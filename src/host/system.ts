/*
 * Which operating system a machine runs, and how software is installed on it.
 */
import type { World } from "./world.ts";

/** What is wrong, and the next step: a command, perhaps with a comment; absent if nothing helps. */
export interface Problem {
  reason: string;
  next?: string;
}

/** What may be missing and can be installed. */
export type Tool = "driver" | "compiler" | "cmake";

interface System {
  /** Of /etc/os-release, such as "ubuntu". */
  id: string;
  version: string;
  like: string[];
}

function systemOf(world: World): System {
  const text = world.read("/etc/os-release") ?? "";
  const value = (key: string) => text.match(new RegExp(`^${key}="?([^"\\n]*)"?$`, "m"))?.[1] ?? "";
  const id = value("ID");
  return { id, version: value("VERSION_ID"), like: [id, ...value("ID_LIKE").split(" ")] };
}

const COMMANDS: Record<string, Record<Tool, string>> = {
  ubuntu: {
    driver: "sudo ubuntu-drivers install",
    compiler: "sudo apt install build-essential python3",
    cmake: "sudo apt install cmake",
  },
  debian: {
    driver: "sudo apt install nvidia-driver  # from the component non-free",
    compiler: "sudo apt install build-essential python3",
    cmake: "sudo apt install cmake",
  },
  fedora: {
    driver: "sudo dnf install akmod-nvidia  # from RPM Fusion",
    compiler: "sudo dnf install gcc-c++ make python3",
    cmake: "sudo dnf install cmake",
  },
  arch: {
    driver: "sudo pacman -S nvidia",
    compiler: "sudo pacman -S base-devel python",
    cmake: "sudo pacman -S cmake",
  },
  suse: {
    driver: "sudo zypper install nvidia-open-driver-G06-signed-kmp-default",
    compiler: "sudo zypper install gcc-c++ make python3",
    cmake: "sudo zypper install cmake",
  },
  alpine: {
    driver: "",
    compiler: "apk add build-base python3",
    cmake: "apk add cmake",
  },
};

const ELSEWHERE: Record<Tool, string> = {
  driver: "NVIDIA's driver for this system: https://www.nvidia.com/drivers",
  compiler: "a C++ compiler, make and Python 3, as this system has them",
  cmake: "cmake 3.18 or newer: https://cmake.org/download",
};

/** The command that installs `tool`, or where to get it. */
export function installing(world: World, tool: Tool): string {
  const macOS = { compiler: "xcode-select --install", cmake: "brew install cmake", driver: "" };
  if (world.platform === "darwin") return macOS[tool] || ELSEWHERE[tool];
  const known = systemOf(world).like.find((id) => COMMANDS[id]?.[tool]);
  return known === undefined ? `install ${ELSEWHERE[tool]}` : COMMANDS[known][tool];
}

const ARCHIVE = "https://developer.nvidia.com/cuda-toolkit-archive";

/**
 * How to install a CUDA toolkit that fits a driver: minor versions of the same major version are compatible.
 * @param cuda the newest version that the driver supports, such as "12.2"
 */
export function installingToolkit(world: World, cuda: string): string {
  const { id, version } = systemOf(world);
  const isUbuntu = id === "ubuntu" && /^(20|22|24)\.04$/.test(version);
  if (!isUbuntu) return `install CUDA toolkit ${cuda}: ${ARCHIVE}`;
  const hasSource = world.list("/etc/apt/sources.list.d").some((name) => /^cuda-/.test(name));
  if (hasSource) return `sudo apt install cuda-toolkit-${cuda.replace(".", "-")}`;
  const keyring = "cuda-keyring_1.1-1_all.deb";
  const place = `https://developer.download.nvidia.com/compute/cuda/repos/ubuntu${version.replace(".", "")}/x86_64`;
  return `wget ${place}/${keyring} && sudo dpkg -i ${keyring} && sudo apt update  # NVIDIA's packages, for the toolkit`;
}

export const isWsl = (world: World): boolean => world.platform === "linux" && /microsoft/i.test(world.release);

export const isContainer = (world: World): boolean =>
  world.exists("/.dockerenv") ||
  world.exists("/run/.containerenv") ||
  Boolean(world.env.container ?? world.env.KUBERNETES_SERVICE_HOST);
