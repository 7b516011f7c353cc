import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fits } from "../../src/backend/wasm/plan.js";
import { wasm } from "../../src/backend/wasm/wasm.js";
import type { Config, WeightSource } from "../../src/llama2/transformer.js";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.js";
import { ROOT } from "../helpers/golden.js";
import { randomModel } from "../helpers/sources.js";

const MODEL = checkpointFile(SHAPES["260K"]);

/** Run a script in a process of its own, in which `model` is loaded on three threads and `read(n)` reads n tokens. */
function inChild(script: string) {
  const built = (path: string) => JSON.stringify(join(ROOT, "dist", path));
  const code = `(async () => {
    const { Checkpoint } = await import(${built("checkpoint/checkpoint.js")});
    const { wasm } = await import(${built("backend/wasm/wasm.js")});
    const model = wasm.load(new Checkpoint(${JSON.stringify(MODEL)}), { threads: 3 });
    const context = model.openContext(1);
    const read = (n) => {
      for (let pos = 0; pos < n; pos++) context.forward([{ token: 1, pos: pos % 512, sequence: 0 }], 1);
    };
    ${script}
  })()`;
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, ["-e", code], {
    encoding: "utf8",
    timeout: 30_000,
  });
  return { status, signal, stdout, stderr };
}

describe("the threads of the wasm backend", () => {
  it("do not keep the process alive", () => {
    expect(inChild("read(3); console.log('read');")).toEqual({ status: 0, signal: null, stdout: "read\n", stderr: "" });
  });

  it("let process.exit end it, asleep or at work", () => {
    for (const pause of [0, 100]) {
      const script = `read(50); setTimeout(() => process.exit(7), ${pause});`;
      expect(inChild(script)).toEqual({ status: 7, signal: null, stdout: "", stderr: "" });
    }
  });

  it("end with the worker that holds the model, also in the middle of a forward pass", () => {
    const script = `
      const { Worker } = require("node:worker_threads");
      const work = ${JSON.stringify(`
        const { parentPort, workerData: { checkpoint, wasm, model } } = require("node:worker_threads");
        Promise.all([import(checkpoint), import(wasm)]).then(([{ Checkpoint }, { wasm }]) => {
          const context = wasm.load(new Checkpoint(model), { threads: 3 }).openContext(1);
          parentPort.postMessage("loaded");
          for (let i = 0; ; i++) context.forward([{ token: 1, pos: i % 512, sequence: 0 }], 1);
        });`)};
      const workerData = {
        checkpoint: ${JSON.stringify(join(ROOT, "dist/checkpoint/checkpoint.js"))},
        wasm: ${JSON.stringify(join(ROOT, "dist/backend/wasm/wasm.js"))},
        model: ${JSON.stringify(MODEL)},
      };
      const worker = new Worker(work, { eval: true, workerData });
      worker.once("message", () => setTimeout(async () => {
        await worker.terminate();
        console.log("terminated");
      }, 50));`;
    expect(inChild(script)).toEqual({ status: 0, signal: null, stdout: "terminated\n", stderr: "" });
  });

  it("end when the model is disposed, which may happen twice", () => {
    const script = `
      const { readdirSync } = require("node:fs");
      const threads = () => process.platform === "linux" ? readdirSync("/proc/self/task").length : 2;
      read(3);
      const before = threads();
      model.dispose();
      model.dispose();
      const deadline = Date.now() + 10_000;
      const wait = () => {
        const ended = process.platform !== "linux" || threads() <= before - 2;
        if (ended || Date.now() > deadline) console.log(ended);
        else setTimeout(wait, 10);
      };
      wait();`;
    expect(inChild(script)).toEqual({ status: 0, signal: null, stdout: "true\n", stderr: "" });
  });

  it("sleep when there is nothing to do", () => {
    const script = `
      read(50);
      setTimeout(() => {
        const start = process.cpuUsage();
        setTimeout(() => {
          const { user, system } = process.cpuUsage(start);
          console.log(user + system < 100_000);
        }, 500);
      }, 200);`;
    expect(inChild(script).stdout).toBe("true\n");
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

  it("is refused before anything is read, with the way out", () => {
    expect(() => wasm.load(source({}), { threads: 1 })).toThrow(
      expect.objectContaining({ code: "E_LIMIT", message: expect.stringMatching(/4 GiB.*--context/) }),
    );
  });

  it("is known beforehand", () => {
    expect(fits(source({}))).toBe(false);
    expect(fits(source({ nLayers: 2 }))).toBe(true);
    // weights that fit, with a context that does not
    expect(fits(source({ nLayers: 4, seqLen: 2 ** 16 }))).toBe(false);
  });

  it("or too many sequences: refused, and the next smaller context works", () => {
    const model = wasm.load(randomModel(SHAPES["260K"]), { threads: 1 });
    expect(() => model.openContext(20_000)).toThrow(expect.objectContaining({ code: "E_LIMIT" }));
    const context = model.openContext(1);
    expect(context.forward([{ token: 1, pos: 0, sequence: 0 }], 1).every(Number.isFinite)).toBe(true);
    model.dispose();
  });
});
