/*
 * The devices that can be measured on this machine.
 */
import { availableBackends } from "../backend/load.ts";
import type { BackendName } from "../backend/names.ts";
import { askNvidiaSmi, type Gpu } from "../host/nvidia.ts";
import { thisWorld } from "../host/world.ts";

/** The backends that work, the fastest first, with their instruction sets; and the GPUs. */
export async function listDevices(): Promise<{ backends: { name: BackendName; isa: string }[]; gpus: Gpu[] }> {
  const backends = await availableBackends();
  const { gpus } = await askNvidiaSmi(thisWorld);
  return { backends: backends.map(({ name, isa }) => ({ name, isa })), gpus };
}
