/*
 * An instance of the kernels in assembly/, built by scripts/build-wasm.mjs. Needs nothing but WebAssembly.
 */
import { Llama2Error } from "../../errors.ts";
import { EXP2_32NDS } from "../../llama2/math.ts";

/** What an instance exports, beside the model's globals. Addresses are bytes in its memory. */
export interface Kernels {
  /**
   * Read the `count` entries at `batch` on `threads` threads; the logits of the last `classified` go to `logits`. A single
   * entry's pass reads so many panels of a float32 matrix at once: 1 or 2.
   * Returns for how many milliseconds a thread waited for a late one.
   */
  forward(
    keyCache: number,
    valueCache: number,
    logits: number,
    count: number,
    classified: number,
    threads: number,
    panels: number,
  ): number;
  sample(logits: number, temperature: number, topp: number, coin: number): number;
  /** The loop of a helper thread: do a share of every forward pass, until `stop`. */
  work(): void;
  /** Let `threads` threads return from `work`. */
  stop(threads: number): void;
}

/** The globals of assembly/model.ts by name: the model's shape, the addresses of its arrays, and the thread's index. */
export type Globals = Record<string, number>;

/** The index, in 32-bit words, of the count of helper threads that have started; negative if one could not. */
export const readyWord = ({ ready }: Globals): number => ready / 4;

export const PAGE = 65536;

/** WebAssembly addresses bytes with 32 bits. */
export const MAX_BYTES = 2 ** 32;

/**
 * A memory for the kernels, of `bytes` bytes; it can grow. `exp2` is the address of expf's table.
 * @throws Llama2Error E_LIMIT if it cannot be allocated
 */
export function createMemory(bytes: number, exp2: number, shared: boolean): WebAssembly.Memory {
  const memory = allocate({ initial: Math.ceil(bytes / PAGE), maximum: MAX_BYTES / PAGE, shared });
  const table = new BigUint64Array(memory.buffer, exp2, EXP2_32NDS.length);
  const bits = new BigUint64Array(EXP2_32NDS.buffer);
  for (let i = 0; i < table.length; i++) table[i] = bits[i] - (BigInt(i) << 47n);
  return memory;
}

function allocate(descriptor: ConstructorParameters<typeof WebAssembly.Memory>[0]): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory(descriptor);
  } catch (error) {
    throw new Llama2Error("E_LIMIT", `there is not enough memory for WebAssembly: ${(error as Error).message}`);
  }
}

/** Instantiate the kernels for one thread. */
export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory, globals: Globals): Kernels {
  const env = { memory, "performance.now": () => performance.now() };
  const { exports } = new WebAssembly.Instance(module, { env });
  for (const [name, value] of Object.entries(globals)) {
    (exports[name] as WebAssembly.Global).value = value;
  }
  return exports as unknown as Kernels;
}
