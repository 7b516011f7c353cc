/*
 * A process, a thread or an object may end at any time, also during a forward pass, without a crash. Each test runs
 * in a child process.
 */
import { describe, expect, it } from "vitest";
import { hasAddon, needsAddon } from "../../helpers/backends.ts";
import { checkpointFile, SHAPES, type Shape } from "../../helpers/checkpoint.ts";
import { runScript } from "../../helpers/child.ts";
import { ROOT } from "../../helpers/golden.ts";

// a pass over 64 of its tokens takes a good part of a second: whatever ends ends in the middle of one
const SLOW: Shape = [512, 1376, 6, 8, 8, 2000, 128];

/** What scripts begin with: how to load the model, and 64 tokens for it to read. */
const prelude = (path: string) => `
  const { Worker, parentPort } = await import("node:worker_threads");
  const { openFile } = await import("${ROOT}/dist/checkpoint/openFile.js");
  const { openCpu } = await import("${ROOT}/dist/backend/cpu/cpu.js");
  const load = async () => openCpu().load(await openFile(${JSON.stringify(path)}), ${SLOW[6]}, { threads: 2 });
  const batch = Array.from({ length: 64 }, (_, pos) => ({ token: pos, pos, sequence: 0 }));
`;

/** `worker`, which never stops reading, and is in the middle of a pass. */
const busyWorker = (path: string) => {
  const script = `(async () => {
    ${prelude(path)}
    const context = (await load()).openContext(1);
    parentPort.postMessage("begun");
    for (;;) context.forward(batch, batch.length);
  })()`;
  return `
    const worker = new Worker(${JSON.stringify(script)}, { eval: true });
    await new Promise((resolve, reject) => { worker.on("message", resolve); worker.on("error", reject); });
    await new Promise((resolve) => setTimeout(resolve, 50));
  `;
};

const CLEAN = { signal: null, stderr: "" };

describe.skipIf(!hasAddon)(`the native addon survives${needsAddon}`, () => {
  const path = hasAddon ? checkpointFile(SLOW) : "";

  it("worker.terminate() in the middle of a pass, again and again", async () => {
    const script = `${prelude(path)}
      for (let i = 0; i < 3; i++) { ${busyWorker(path)} await worker.terminate(); }
      console.log("alive");`;
    expect(await runScript(script)).toEqual({ ...CLEAN, code: 0, stdout: "alive\n" });
  });

  // for a moment the calls of a thread that is being ended still come in, and nothing works in them
  it.each([
    ["a method", "for (const context = (await load()).openContext(1);;) context.dispose();"],
    ["a context's constructor", "for (const model = await load();;) model.openContext(1).dispose();"],
    ["a model's constructor, or what fills it", "for (;;) (await load()).dispose();"],
  ])("worker.terminate() exactly during the call of %s", async (_, loop) => {
    const tiny = checkpointFile(SHAPES.tiny);
    const worker = `(async () => { ${prelude(tiny)} parentPort.postMessage("begun"); ${loop} })()`;
    const script = `${prelude(tiny)}
      for (let i = 0; i < 60; i++) {
        const worker = new Worker(${JSON.stringify(worker)}, { eval: true });
        await new Promise((resolve) => worker.on("message", resolve));
        await new Promise((resolve) => setTimeout(resolve, i % 4));
        await worker.terminate();
      }
      console.log("alive");`;
    expect(await runScript(script, 60_000)).toEqual({ ...CLEAN, code: 0, stdout: "alive\n" });
  });

  it("process.exit() while a worker is in the middle of a pass", async () => {
    const script = `${prelude(path)} ${busyWorker(path)} process.exit(7);`;
    expect(await runScript(script)).toEqual({ ...CLEAN, code: 7, stdout: "" });
  });

  it("process.exit() with nothing disposed of", async () => {
    const script = `${prelude(path)}
      const context = (await load()).openContext(2);
      context.forward(batch, 1);
      process.exit(8);`;
    expect(await runScript(script)).toEqual({ ...CLEAN, code: 8, stdout: "" });
  });

  it("the end of the script with nothing disposed of", async () => {
    const script = `${prelude(path)} globalThis.kept = (await load()).openContext(2); kept.forward(batch, 1);`;
    expect(await runScript(script)).toEqual({ ...CLEAN, code: 0, stdout: "" });
  });

  it("dispose, twice, in either order; using a disposed object is an error that says so", async () => {
    const script = `${prelude(path)}
      const model = await load();
      const [first, second] = [model.openContext(1), model.openContext(1)];
      first.dispose(); first.dispose();
      model.dispose(); model.dispose();
      second.forward(batch, 1); // keeps what it needs
      second.dispose();
      for (const call of [() => first.forward(batch, 1), () => model.openContext(1)]) {
        try { call(); console.log("no error"); } catch (error) { console.log(error.message); }
      }`;
    const stdout = "this context has been disposed\nthis model has been disposed\n";
    expect(await runScript(script)).toEqual({ ...CLEAN, code: 0, stdout });
  });

  it("garbage collection of objects without references", async () => {
    const script = `${prelude(path)}
      let context = (await load()).openContext(1); // there is no other reference to the model
      gc();
      const before = context.forward(batch, 1).slice();
      gc();
      console.log(context.forward(batch, 1).every((x, i) => x === before[i]));
      context = undefined;
      for (let i = 0; i < 30; i++) { (await load()).openContext(4).forward(batch, 0); gc(); await new Promise(setImmediate); }
      console.log(process.memoryUsage().rss < 1e9); // 30 models would take 2 GB`;
    expect(await runScript(script, 60_000)).toEqual({ ...CLEAN, code: 0, stdout: "true\ntrue\n" });
  });

  it("two workers with a model each, one of which ends", async () => {
    const script = `${prelude(path)}
      ${busyWorker(path)}
      const context = (await load()).openContext(1);
      const before = context.forward(batch, 1).slice();
      await worker.terminate();
      console.log(context.forward(batch, 1).every((x, i) => x === before[i]));`;
    expect(await runScript(script)).toEqual({ ...CLEAN, code: 0, stdout: "true\n" });
  });

  it("invalid arguments", async () => {
    const script = `${prelude(path)}
      import { loadAddon } from "${ROOT}/dist/backend/cpu/addon.js";
      const { Model, Context } = loadAddon();
      const model = await load();
      const context = model.openContext(1);
      const entry = (token, pos, sequence) => () => context.forward([{ token, pos, sequence }], 1);
      const calls = [
        entry(-1, 0, 0), entry(2000, 0, 0), entry(0, -1, 0), entry(0, 128, 0), entry(0, 0, 1), entry(0, 0, -1),
        () => context.forward([], 1),
        () => context.forward([...batch, batch[0]], 1),
        () => context.sample([{ temperature: 0 }, { temperature: 0 }]),
        () => new Model(), () => new Context(), () => new Context(context, 1), () => new Model({}, 1, 2, 3, 4, 5), () => new Context({}, 1),
        () => model.openContext(0), () => Model(),
      ];
      let errors = 0;
      for (const call of calls) { try { call(); console.log(String(call)); } catch { errors++; } }
      console.log(errors === calls.length);`;
    expect(await runScript(script)).toEqual({ ...CLEAN, code: 0, stdout: "true\n" });
  });
});
