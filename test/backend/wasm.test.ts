import { cpSync, rmSync, symlinkSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import threads from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { processors } from "../../src/backend/processors.ts";
import { wasm } from "../../src/backend/wasm/wasm.ts";
import { type Config, forward } from "../../src/llama2/transformer.ts";
import { loadTransformer } from "../../src/llama2/weights.ts";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.ts";
import { runScript } from "../helpers/child.ts";
import { rejected, thrown } from "../helpers/errors.ts";
import { FULL } from "../helpers/full.ts";
import { ROOT } from "../helpers/golden.ts";
import { paper, randomModel } from "../helpers/sources.ts";
import { tempDir } from "../helpers/temp.ts";

/** Positions, which all of the models have. */
const CONTEXT = 32;

it("takes the number of threads that is asked for, or chooses one by the model's size", async () => {
  const threads = async (shape: keyof typeof SHAPES, requested: number) => {
    const model = await wasm.load(randomModel(SHAPES[shape]), 256, { threads: requested });
    model.dispose();
    return model.threads;
  };
  expect(await threads("260K", 3)).toBe(3);
  expect(await threads("260K", 0)).toBe(1);
  if (FULL) expect(await threads("15M", 0)).toBe(Math.min(processors(), 25));
});

it("without its kernels, auto runs the next backend and says why; by name it is refused", async () => {
  const root = tempDir();
  for (const name of ["dist", "package.json"]) cpSync(join(ROOT, name), join(root, name), { recursive: true });
  symlinkSync(join(ROOT, "node_modules"), join(root, "node_modules"), "junction");
  rmSync(join(root, "dist/backend/wasm/kernels.wasm"));
  const { stdout } = await runScript(`
    import { load } from "${root}/dist/backend/load.js";
    import { openFile } from "${root}/dist/checkpoint/openFile.js";
    const source = await openFile(${JSON.stringify(checkpointFile(SHAPES.tiny))});
    const { backend, notes } = await load(source, "auto", 0, 0);
    console.log(backend, notes.some((note) => /WebAssembly kernels cannot be used: ENOENT/.test(note)));
    try {
      await load(source, "wasm", 0, 0);
    } catch ({ code }) {
      console.log(code);
    }`);
  expect(stdout).toBe("ts true\nE_DEVICE_UNAVAILABLE\n");
});

describe("contexts of a model", () => {
  const source = randomModel(SHAPES["260K"]);
  const tokens = [1, 17, 400, 3, 3, 250];

  it("do not affect each other", async () => {
    const transformer = await loadTransformer(source);
    const expected = tokens.map((token, pos) => forward(transformer, token, pos).slice());
    const model = await wasm.load(source, CONTEXT, { threads: 1 });
    const [a, b] = [model.openContext(1), model.openContext(3)];
    for (const [pos, token] of tokens.entries()) {
      expect(a.forward([{ token, pos, sequence: 0 }], 1)).toEqual(expected[pos]);
      expect(b.forward([{ token: 511 - token, pos, sequence: 0 }], 1)).not.toEqual(expected[pos]);
    }
    model.dispose();
  });

  it("leave their memory to those opened later, if it is large enough", async () => {
    const model = await wasm.load(source, CONTEXT, { threads: 1 });
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

describe("a disposed context", () => {
  const source = randomModel(SHAPES.tiny);
  const first = [{ token: 1, pos: 0, sequence: 0 }];

  it("is refused in a pass, and so is a context of a disposed model", async () => {
    const model = await wasm.load(source, CONTEXT, { threads: 1 });
    const [disposed, left] = [model.openContext(1), model.openContext(1)];
    disposed.dispose();
    expect(() => disposed.forward(first, 1)).toThrow("disposed");
    left.forward(first, 1);
    model.dispose();
    expect(() => left.forward(first, 1)).toThrow("disposed");
  });

  it("may be disposed again without harm to the context that took its memory", async () => {
    const transformer = await loadTransformer(source);
    const expected = [1, 7].map((token, pos) => forward(transformer, token, pos).slice());
    const model = await wasm.load(source, CONTEXT, { threads: 1 });
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

describe("a refusal by the system is a typed error:", () => {
  const source = randomModel(SHAPES.tiny);

  /** Do `work` while another class stands in for WebAssembly.Memory. */
  async function withMemory(instead: typeof WebAssembly.Memory, work: () => Promise<void>): Promise<void> {
    const { Memory } = WebAssembly;
    WebAssembly.Memory = instead;
    try {
      await work();
    } finally {
      WebAssembly.Memory = Memory;
    }
  }

  it("memory for a model", async () => {
    class Refused extends WebAssembly.Memory {
      constructor(descriptor: { initial: number; maximum: number; shared: boolean }) {
        super({ ...descriptor, initial: 1 });
        throw new RangeError("could not allocate memory");
      }
    }
    await withMemory(Refused, async () => {
      const { message } = await rejected("E_LIMIT", wasm.load(source, CONTEXT, { threads: 1 }));
      expect(message).toContain("not enough memory for WebAssembly: could not allocate memory");
    });
  });

  it("memory for a context", async () => {
    class Rigid extends WebAssembly.Memory {
      override grow(): number {
        throw new RangeError("Unable to grow instance memory");
      }
    }
    await withMemory(Rigid, async () => {
      const model = await wasm.load(source, CONTEXT, { threads: 1 });
      const { message, remedy } = thrown("E_LIMIT", () => model.openContext(100));
      expect(message).toMatch(/no room for another context.*Unable to grow/);
      expect(remedy).toEqual({ option: "context" });
      model.dispose();
    });
  });

  it("a thread that dies as it starts is not waited for", async () => {
    const { Worker } = threads;
    // a thread whose kernels lack what it has to set
    threads.Worker = class extends Worker {
      constructor(url: URL, options: threads.WorkerOptions) {
        const { globals, ...data } = options.workerData;
        super(url, { ...options, workerData: { ...data, globals: { ...globals, unheardOf: 1 } } });
      }
    };
    syncBuiltinESMExports();
    const begin = performance.now();
    try {
      const { message, remedy } = await rejected("E_DEVICE_UNAVAILABLE", wasm.load(source, CONTEXT, { threads: 3 }));
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
  const load = (config: Partial<Config>) => {
    const source = paper(config);
    return wasm.load(source, source.config.seqLen, { threads: 1 });
  };

  it("is refused before anything is read, with what to do", async () => {
    const { message, remedy } = await rejected("E_LIMIT", load({}));
    expect(message).toMatch(/need \d+\.\d GiB.*4 GiB\. Use another backend$/);
    expect(remedy).toEqual({ option: "backend", value: "cpu" });
  });

  it("with its context is refused, with a shorter context that fits", async () => {
    const { remedy } = await rejected("E_LIMIT", load({ nLayers: 2, seqLen: 2 ** 16 }));
    expect(remedy).toEqual({ option: "context", value: 2048 });
    await expect(load({ nLayers: 2, seqLen: 2048 })).rejects.toThrow("a model on paper were read");
  });

  it("with that many sequences is refused, and the next smaller context works", async () => {
    const model = await wasm.load(randomModel(SHAPES["260K"]), 512, { threads: 1 });
    expect(() => model.openContext(20_000)).toThrow(expect.objectContaining({ code: "E_LIMIT" }));
    const context = model.openContext(1);
    expect(context.forward([{ token: 1, pos: 0, sequence: 0 }], 1).every(Number.isFinite)).toBe(true);
    model.dispose();
  });
});
