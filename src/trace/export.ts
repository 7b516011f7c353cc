/*
 * Exports a trace: as JSON, as the command line prints it, and as NumPy's .npz with TransformerLens' names. Runs in
 * browsers.
 */
import { zipSync } from "fflate";
import { checkWhole } from "../check.ts";
import { LINES } from "./forward.ts";
import { checkStops, type Stop, type Tensor } from "./run.ts";
import { stopOf } from "./stops.ts";

/** The file of a stop's `source`. */
export const SOURCE_FILE = "src/llama2/transformer.ts";

export interface StopJson {
  id: string;
  /** Absent before and after the layers. */
  layer?: number;
  source: { file: string; line: number; text: string };
  /** The line of run.c that does the same. */
  runc: number;
  tensors: { name: string; shape: number[]; values: (number | string)[] }[];
  fused?: true;
}

/** A stop as JSON. Numbers that are not finite, which JSON does not have, and -0, which it loses, are strings. */
export function stopJson(stop: Stop): StopJson {
  checkStops([stop]);
  const { id, layer, tensors, fused } = stop;
  const asNumber = (value: number) => {
    if (Object.is(value, -0)) return "-0";
    return Number.isFinite(value) ? value : `${value}`;
  };
  return {
    id,
    ...(layer < 0 ? {} : { layer }),
    source: { file: SOURCE_FILE, ...LINES[id] },
    runc: stopOf(id).runc,
    tensors: tensors.map(({ name, shape, values }) => ({ name, shape, values: Array.from(values, asNumber) })),
    ...(fused ? { fused } : {}),
  };
}

/** TransformerLens' names for the tensors of a stop. */
export function hookNames({ id, layer }: Stop): string[] {
  return stopOf(id).lens.map((name) => (layer < 0 ? name : `blocks.${layer}.${name}`));
}

/**
 * The stops as a .npz file: `numpy.load` gives a float32 array for each tensor, by its hook name. As in
 * TransformerLens, heads have an axis of their own: q is (nHeads, headSize).
 */
export function npz(stops: readonly Stop[], headSize: number): Uint8Array {
  checkStops(stops);
  checkWhole("headSize", headSize, 1, 2 ** 31 - 1);
  const files: Record<string, Uint8Array> = {};
  for (const stop of stops) {
    const names = hookNames(stop);
    const kinds = stopOf(stop.id).tensors;
    for (const tensor of stop.tensors) {
      const shape = hasHeads(stop.id) ? [tensor.values.length / headSize, headSize] : tensor.shape;
      files[`${names[kinds.indexOf(tensor.name)]}.npy`] = npy({ ...tensor, shape });
    }
  }
  return zipSync(files, { level: 0, mtime: new Date(1980, 0, 1) }); // a fixed date, so that equal traces have equal bytes
}

const hasHeads = (id: Stop["id"]) => ["q", "k", "v", "rope", "mix"].includes(id);

/** An array of float32 as a .npy file, version 1.0. */
function npy({ shape, values }: Pick<Tensor, "shape" | "values">): Uint8Array {
  const tuple = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const description = `{'descr': '<f4', 'fortran_order': False, 'shape': (${tuple}), }`;
  const header = `${description.padEnd(Math.ceil((11 + description.length) / 64) * 64 - 11)}\n`;
  const bytes = new Uint8Array(10 + header.length + 4 * values.length);
  bytes.set([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, header.length & 0xff, header.length >> 8]);
  bytes.set(new TextEncoder().encode(header), 10);
  const view = new DataView(bytes.buffer, 10 + header.length);
  for (const [i, value] of values.entries()) view.setFloat32(4 * i, value, true);
  return bytes;
}
