import { cpSync, rmSync, symlinkSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import threads from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { wasm } from "../../src/backend/wasm/wasm.ts";
import { type Config, forward } from "../../src/llama2/transformer.ts";
import { buildTransformer, type WeightSource } from "../../src/llama2/weights.ts";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.ts";
import { runScript } from "../helpers/child.ts";
import { thrown } from "../helpers/errors.ts";
import { ROOT } from "../helpers/golden.ts";
import { randomModel } from "../helpers/sources.ts";
import { tempDir } from "../helpers/temp.ts";

it("takes as many threads as it is told, or by the model's size", () => {
  const threads = (shape: keyof typeof SHAPES, told: number) => {
    const model = wasm.load(randomModel(SHAPES[shape]), { threads: told });
    model.dispose();
    return model.threads;
  };
  expect(threads("260K", 3)).toBe(3);
  expect(threads("260K", 0)).toBe(1);
  expect(threads("15M", 0)).toBe(Math.min(availableParallelism(), 25));
});

it("without its kernels, auto runs the next backend and says why; by name it is refused", async () => {
  const root = tempDir();
  for (const name of ["dist", "package.json"]) cpSync(join(ROOT, name), join(root, name), { recursive: true });
  symlinkSync(join(ROOT, "node_modules"), join(root, "node_modules"), "junction");
  rmSync(join(root, "dist/backend/wasm/kernels.wasm"));
  const { stdout } = await runScript(`
    import { load } from "${root}/dist/backend/load.js";
    import { Checkpoint } from "${root}/dist/checkpoint/checkpoint.js";
    const source = new Checkpoint(${JSON.stringify(checkpointFile(SHAPES.tiny))});
    const { backend, notes } = load(source, "auto", 0, 0);
    console.log(backend, notes.some((note) => /WebAssembly kernels cannot be used: ENOENT/.test(note)));
    try {
      load(source, "wasm", 0, 0);
    } catch ({ code }) {
      console.log(code);
    }`);
  expect(stdout).toBe("ts true\nE_DEVICE_UNAVAILABLE\n");
});

describe("contexts of a model", () => {
  const source = randomModel(SHAPES["260K"]);
  const tokens = [1, 17, 400, 3, 3, 250];

  it("do not affect each other", () => {
    const transformer = buildTransformer(source);
    const expected = tokens.map((token, pos) => forward(transformer, token, pos).slice());
    const model = wasm.load(source, { threads: 1 });
    const [a, b] = [model.openContext(1), model.openContext(3)];
    for (const [pos, token] of tokens.entries()) {
      expect(a.forward([{ token, pos, sequence: 0 }], 1)).toEqual(expected[pos]);
      expect(b.forward([{ token: 511 - token, pos, sequence: 0 }], 1)).not.toEqual(expected[pos]);
    }
    model.dispose();
  });

  it("leave their room to those that are opened later, if it is enough", () => {
    const model = wasm.load(source, { threads: 1 });
    const before = model.openContext(1);
    const kept = model.openContext(1);
    before.dispose();
    for (const [pos, token] of tokens.entries()) {
      const expected = kept.forward([{ token, pos, sequence: 0 }], 1).slice();
      // 0.3 GB each: not even fourteen fit at once, nor one where the first was
      for (let sequences = 500; sequences > 490; sequences--) {
        const context = model.openContext(sequences);
        const batch = Array.from({ length: 10 }, (_, sequence) => ({ token: 2, pos, sequence }));
        expect(context.forward(batch, 1)).not.toEqual(expected);
        context.dispose();
      }
      expect(kept.forward([{ token, pos, sequence: 0 }], 1)).toEqual(expected);
    }
    model.dispose();
  });
});

describe("a context that was disposed", () => {
  const source = randomModel(SHAPES.tiny);
  const first = [{ token: 1, pos: 0, sequence: 0 }];

  it("reads no more, nor does one whose model was", () => {
    const model = wasm.load(source, { threads: 1 });
    const [disposed, left] = [model.openContext(1), model.openContext(1)];
    disposed.dispose();
    expect(() => disposed.forward(first, 1)).toThrow("disposed");
    left.forward(first, 1);
    model.dispose();
    expect(() => left.forward(first, 1)).toThrow("disposed");
  });

  it("may be disposed again, which leaves alone whoever has its place now", () => {
    const transformer = buildTransformer(source);
    const expected = [1, 7].map((token, pos) => forward(transformer, token, pos).slice());
    const model = wasm.load(source, { threads: 1 });
    const before = model.openContext(1);
    before.dispose();
    const heir = model.openContext(1);
    heir.forward(first, 1);
    before.dispose();
    model.openContext(1).forward([{ token: 9, pos: 0, sequence: 0 }], 1);
    expect(heir.forward([{ token: 7, pos: 1, sequence: 0 }], 1)).toEqual(expected[1]);
    model.dispose();
  });
});

describe("what the system refuses is a typed error:", () => {
  const source = randomModel(SHAPES.tiny);

  /** Do `work` while another class stands in for WebAssembly.Memory. */
  function withMemory(instead: typeof WebAssembly.Memory, work: () => void): void {
    const { Memory } = WebAssembly;
    WebAssembly.Memory = instead;
    try {
      work();
    } finally {
      WebAssembly.Memory = Memory;
    }
  }

  it("memory for a model", () => {
    class Refused extends WebAssembly.Memory {
      constructor(descriptor: { initial: number; maximum: number; shared: boolean }) {
        super({ ...descriptor, initial: 1 });
        throw new RangeError("could not allocate memory");
      }
    }
    withMemory(Refused, () => {
      const { message } = thrown("E_LIMIT", () => wasm.load(source, { threads: 1 }));
      expect(message).toContain("not enough memory for WebAssembly: could not allocate memory");
    });
  });

  it("memory for a context", () => {
    class Rigid extends WebAssembly.Memory {
      override grow(): number {
        throw new RangeError("Unable to grow instance memory");
      }
    }
    withMemory(Rigid, () => {
      const model = wasm.load(source, { threads: 1 });
      const { message, remedy } = thrown("E_LIMIT", () => model.openContext(100));
      expect(message).toMatch(/no room for another context.*Unable to grow/);
      expect(remedy).toEqual({ option: "context" });
      model.dispose();
    });
  });

  it("a thread, which dies before it works: the others are not waited for", () => {
    const { Worker } = threads;
    // one whose kernels do not have what it is told to set
    threads.Worker = class extends Worker {
      constructor(url: URL, options: threads.WorkerOptions) {
        const { globals, ...data } = options.workerData;
        super(url, { ...options, workerData: { ...data, globals: { ...globals, unheardOf: 1 } } });
      }
    };
    syncBuiltinESMExports();
    const begin = performance.now();
    try {
      const { message, remedy } = thrown("E_DEVICE_UNAVAILABLE", () => wasm.load(source, { threads: 3 }));
      expect(message).toContain("not all of 2 threads started");
      expect(remedy).toEqual({ option: "threads", value: 1 });
      expect(performance.now() - begin).toBeLessThan(20_000); // 30 s are what a slow one gets
    } finally {
      threads.Worker = Worker;
      syncBuiltinESMExports();
    }
  });
});

describe("a model that WebAssembly cannot address", () => {
  const tooEarly = () => {
    throw new Error("read before the size was checked");
  };
  /** A source with nothing to read. */
  const source = (config: Partial<Config>): WeightSource => ({
    config: {
      ...{ dim: 4096, hiddenDim: 11008, nLayers: 32, nHeads: 32, nKvHeads: 32, vocabSize: 32000, seqLen: 2048 },
      ...{ normEps: 1e-5, ropeTheta: 10000 },
      ...config,
    },
    sharedClassifier: false,
    groupSize: 0,
    read: tooEarly,
    readQuantized: tooEarly,
  });

  const load = (config: Partial<Config>) => () => wasm.load(source(config), { threads: 1 });

  it("is refused before anything is read, with the way out", () => {
    const { message, remedy } = thrown("E_LIMIT", load({}));
    expect(message).toMatch(/need \d+\.\d GiB.*4 GiB\. Use another backend$/);
    expect(remedy).toEqual({ option: "backend", value: "cpu" });
  });

  it("or only without its context, with a shorter one that fits", () => {
    const { remedy } = thrown("E_LIMIT", load({ nLayers: 2, seqLen: 2 ** 16 }));
    expect(remedy).toEqual({ option: "context", value: 2048 });
    expect(load({ nLayers: 2, seqLen: 2048 })).toThrow("read before the size was checked");
  });

  it("or too many sequences: refused, and the next smaller context works", () => {
    const model = wasm.load(randomModel(SHAPES["260K"]), { threads: 1 });
    expect(() => model.openContext(20_000)).toThrow(expect.objectContaining({ code: "E_LIMIT" }));
    const context = model.openContext(1);
    expect(context.forward([{ token: 1, pos: 0, sequence: 0 }], 1).every(Number.isFinite)).toBe(true);
    model.dispose();
  });
});
