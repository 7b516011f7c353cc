/*
 * The NVIDIA GPUs of a machine, as nvidia-smi's query output lists them (its manual: nvidia-smi --help-query-gpu).
 */
import type { World } from "./world.ts";

/** A process that holds memory of a GPU. */
export interface GpuProcess {
  pid: number;
  name: string;
  bytes?: number;
}

/** A GPU. What it does not report is absent. */
export interface Gpu {
  index: number;
  name: string;
  /** Compute capability, such as "8.9". */
  capability?: string;
  driver?: string;
  /** The newest CUDA version that the driver supports, such as "12.2". */
  cuda?: string;
  memoryBytes?: number;
  usedBytes?: number;
  freeBytes?: number;
  temperatureC?: number;
  powerW?: number;
  powerLimitW?: number;
  utilizationPercent?: number;
  processes: GpuProcess[];
}

/** The outcome of running nvidia-smi. */
export interface NvidiaSmi {
  /** "works"; "missing": there is no such command; "no driver": it does not reach one; "mismatch": driver and library differ. */
  outcome: "works" | "missing" | "no driver" | "mismatch" | "no device" | "failed";
  /** The first line of its output, if it does not work. */
  said: string;
  gpus: Gpu[];
}

const FIELDS = [
  "index",
  "uuid",
  "name",
  "driver_version",
  "memory.total",
  "memory.used",
  "memory.free",
  "temperature.gpu",
  "power.draw",
  "power.limit",
  "utilization.gpu",
  "compute_cap", // last: drivers before 495 do not know it
] as const;
const FORMAT = "--format=csv,noheader,nounits";

/** Under WSL the command is not on the path of every shell. */
const NAMES = ["nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi"];

/** Ask nvidia-smi for the GPUs of a machine. */
export async function askNvidiaSmi(world: World): Promise<NvidiaSmi> {
  for (const command of NAMES) {
    const query = (fields: readonly string[]) => world.run(command, [`--query-gpu=${fields.join(",")}`, FORMAT]);
    let found = await query(FIELDS);
    if (found === undefined) continue;
    if (/not a valid field/.test(found.stdout + found.stderr)) found = await query(FIELDS.slice(0, -1));
    if (found === undefined || found.status !== 0)
      return whyNot(found?.status ?? 1, found?.stdout || found?.stderr || "");
    const lines = rowsOf(found.stdout);
    if (lines.length === 0) return { outcome: "no device", said: "No devices were found", gpus: [] };
    const cuda = (await world.run(command, []))?.stdout.match(/CUDA Version: +(\d+\.\d+)/)?.[1];
    const processes = await processesOf(world, command);
    return { outcome: "works", said: "", gpus: lines.map((line) => gpuOf(line, cuda, processes)) };
  }
  return { outcome: "missing", said: "", gpus: [] };
}

/** Judged by its output, and by its documented exit status: 6 nothing found, 9 no driver, 12 no library. */
function whyNot(status: number, said: string): NvidiaSmi {
  const line = said.trim().split("\n")[0];
  const outcome = /version mismatch/i.test(said)
    ? "mismatch"
    : status === 9 || /couldn't communicate with the NVIDIA driver|Driver Not Loaded/i.test(said)
      ? "no driver"
      : status === 6 || /No devices were found/i.test(said)
        ? "no device"
        : "failed";
  return { outcome, said: line || `nvidia-smi ends with status ${status}`, gpus: [] };
}

const rowsOf = (csv: string): string[][] =>
  csv
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => line.split(",").map((cell) => cell.trim()));

/** A value; undefined for "[N/A]", "[Not Supported]", "[Unknown Error]" and anything else that is not a number. */
function numberOf(cell: string | undefined): number | undefined {
  return cell !== undefined && /^\d+(\.\d+)?$/.test(cell) ? Number(cell) : undefined;
}

const MIB = 2 ** 20;
const bytesOf = (cell: string | undefined): number | undefined => {
  const mib = numberOf(cell);
  return mib === undefined ? undefined : mib * MIB;
};

type Holder = GpuProcess & { uuid: string };

function gpuOf(cells: string[], cuda: string | undefined, processes: readonly Holder[]): Gpu {
  const [index, uuid, name, driver, total, used, free, temperature, power, limit, utilization, capability] = cells;
  return {
    index: numberOf(index) ?? 0,
    name,
    capability: /^\d+\.\d+$/.test(capability ?? "") ? capability : undefined,
    driver: /^\d/.test(driver ?? "") ? driver : undefined,
    cuda,
    memoryBytes: bytesOf(total),
    usedBytes: bytesOf(used),
    freeBytes: bytesOf(free),
    temperatureC: numberOf(temperature),
    powerW: numberOf(power),
    powerLimitW: numberOf(limit),
    utilizationPercent: numberOf(utilization),
    processes: processes.filter((holder) => holder.uuid === uuid).map(({ pid, name, bytes }) => ({ pid, name, bytes })),
  };
}

async function processesOf(world: World, command: string): Promise<Holder[]> {
  const query = "--query-compute-apps=gpu_uuid,pid,used_gpu_memory,process_name"; // the name last: it may have commas
  const found = await world.run(command, [query, FORMAT]);
  if (found?.status !== 0) return [];
  return rowsOf(found.stdout).flatMap(([uuid, pid, used, ...name]) => {
    const id = numberOf(pid);
    return id === undefined ? [] : [{ uuid, pid: id, name: name.join(","), bytes: bytesOf(used) }];
  });
}
