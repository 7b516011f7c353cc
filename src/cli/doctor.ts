/*
 * llama2 doctor: what works on this machine, and what to do about the rest.
 */
import { type Diagnosis, doctor as examine } from "../doctor.ts";
import { print } from "./io.ts";
import { gigabytes, wrapped } from "./layout.ts";

/** Print the diagnosis: a screen, or one JSON object. The exit status is 1 unless all is well. */
export async function doctor({ json }: { json?: boolean }): Promise<void> {
  const found = await examine();
  if (!found.well) process.exitCode = 1;
  const { well, ...rest } = found;
  await print(json ? `${JSON.stringify(rest)}\n` : `${screenOf(found).join("\n")}\n`);
}

const NAME_WIDTH = 8;
const line = (name: string, text: string) => wrapped(`${name.padEnd(NAME_WIDTH)}  `, text);

function screenOf(found: Diagnosis): string[] {
  return [
    ...machineLines(found),
    "",
    ...found.backends.flatMap((backend) => backendLines(backend, found.checks)),
    "",
    ...(found.gpus.length === 0 ? line("GPU", "none that nvidia-smi lists") : found.gpus.flatMap(gpuLines)),
    ...line("NCCL", `${found.nccl.present ? "present" : "not present"}; it is not needed`),
    "",
    ...found.advice.flatMap((text, i) => line(i === 0 ? "to do" : "", text)),
  ];
}

function machineLines({ version, machine }: Diagnosis): string[] {
  const { cpu, family, cores, quota, isa, memoryBytes, memoryLimitBytes, availableBytes, node, os } = machine;
  const facts = [
    `${cpu}${family === undefined ? "" : ` (family ${family})`}`,
    `${cores} ${cores === 1 ? "core" : "cores"}${quota === undefined ? "" : `, of which a quota allows ${quota.toFixed(1)}`}`,
    isa,
  ];
  const limit = memoryLimitBytes === undefined ? "" : `, limited to ${gigabytes(memoryLimitBytes)}`;
  return [
    ...line("llama2", `${version}, Node ${node}, ${os}`),
    ...line("CPU", facts.join(", ")),
    ...line("memory", `${gigabytes(memoryBytes)}${limit}, ${gigabytes(availableBytes)} available`),
  ];
}

function backendLines(
  { name, works, exact, isa, reason, next }: Diagnosis["backends"][number],
  checks: Diagnosis["checks"],
) {
  if (!works) return [...line(name, `no: ${reason}`), ...(next === undefined ? [] : line("", `next: ${next}`))];
  const hashes = checks
    .filter(({ backend }) => backend === name)
    .map(({ precision, logitsSha256 }) => `${precision} ${logitsSha256.slice(0, 8)}`);
  const bits = exact ? "the reference's bits" : "close to the reference";
  return line(name, `works${isa === "none" || isa === name ? "" : `, ${isa}`}: ${bits} (${hashes.join(", ")})`);
}

function gpuLines(gpu: Diagnosis["gpus"][number]): string[] {
  const { index, name, capability, driver, cuda, memoryBytes, freeBytes, processes } = gpu;
  const { temperatureC, powerW, powerLimitW, utilizationPercent } = gpu;
  const known = (value: number | string | undefined, text: (value: string) => string) =>
    value === undefined ? [] : [text(`${value}`)];
  const facts = [
    name,
    ...known(capability, (value) => `capability ${value}`),
    ...known(driver, (value) => `driver ${value}`),
    ...known(cuda, (value) => `CUDA ${value}`),
  ];
  const state = [
    ...(memoryBytes === undefined ? [] : [gigabytes(memoryBytes)]),
    ...(freeBytes === undefined ? [] : [`${gigabytes(freeBytes)} free`]),
    ...known(temperatureC, (value) => `${value} C`),
    ...known(powerW, (value) => `${value} W${powerLimitW === undefined ? "" : ` of ${powerLimitW} W`}`),
    ...known(utilizationPercent, (value) => `${value} % busy`),
  ];
  const holders = processes.map(({ pid, name, bytes }) => {
    return `process ${pid} (${name}) holds ${bytes === undefined ? "memory" : gigabytes(bytes)}`;
  });
  return [
    ...line(`GPU ${index}`, facts.join(", ")),
    ...(state.length > 0 ? line("", state.join(", ")) : []),
    ...holders.flatMap((text) => line("", text)),
  ];
}
