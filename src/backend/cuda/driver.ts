/*
 * Whether there is an NVIDIA driver, found by looking for files: that is cheap on machines without one.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";

/** Files that exist where a driver runs: on Linux, under WSL, on a Jetson; on Windows. */
const TRACES =
  process.platform === "win32"
    ? [join(process.env.SystemRoot ?? "C:\\Windows", "System32", "nvcuda.dll")]
    : ["/dev/nvidiactl", "/usr/lib/wsl/lib/libcuda.so.1", "/dev/nvmap"];

export const hasDriver = (): boolean => TRACES.some((path) => existsSync(path));
