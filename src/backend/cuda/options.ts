/*
 * Options that only the cuda backend has.
 */

/** Of the matrices. Vectors and activations are float32. Every backend can round weights to int8 while loading. */
export const PRECISIONS = ["fp32", "fp16", "int8"] as const;
export type Precision = (typeof PRECISIONS)[number];
/** Of keys and values. */
export const KV_PRECISIONS = ["fp32", "fp16"] as const;
export type KvPrecision = (typeof KV_PRECISIONS)[number];

export interface CudaOptions {
  /** Of the matrices. @default the file's */
  precision?: Precision;
  /** Of keys and values. @default fp32, or fp16 for models of 1e9 weights and more */
  kvPrecision?: KvPrecision;
  /** Which GPU. @default 0 */
  device?: number;
}

const NAMES: Record<keyof CudaOptions, string> = {
  precision: "precision fp16",
  kvPrecision: "kvPrecision",
  device: "device",
};

/**
 * Why options do not apply to this backend: "... need the cuda backend"; "" if all apply.
 * @param names how messages call each option
 */
export function misplaced(backend: string, { precision, kvPrecision, device }: CudaOptions, names = NAMES): string {
  if (backend === "auto" || backend === "cuda") return "";
  const chosen: string[] = [];
  if (precision === "fp16") chosen.push(names.precision);
  if (kvPrecision !== undefined) chosen.push(names.kvPrecision);
  if (device !== undefined) chosen.push(names.device);
  if (chosen.length === 0) return "";
  const list = chosen.length < 3 ? chosen.join(" and ") : `${chosen[0]}, ${chosen[1]} and ${chosen[2]}`;
  return `${list} ${chosen.length === 1 ? "needs" : "need"} the cuda backend`;
}
