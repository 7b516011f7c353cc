/*
 * Whether there is an NVIDIA driver: a look at the file system, which is cheap where there is none.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";

/** What a driver leaves where it runs: on Linux, under WSL, on a Jetson; on Windows. */
const TRACES =
  process.platform === "win32"
    ? [join(process.env.SystemRoot ?? "C:\\Windows", "System32", "nvcuda.dll")]
    : ["/dev/nvidiactl", "/usr/lib/wsl/lib/libcuda.so.1", "/dev/nvmap"];

export const hasDriver = (): boolean => TRACES.some((path) => existsSync(path));
