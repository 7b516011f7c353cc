/*
 * A model on the device, used through the library: the caller's thread stays free, a signal stops a generation, and
 * a process, a thread or an object may end at any time without a crash. Each test runs in a child process, on the
 * emulator.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { canEmulateAddon } from "../../../scripts/cuda-emulator.mjs";
import { runScript } from "../../helpers/child.ts";
import { emulatedPackage, needsEmulator } from "../../helpers/emulatedPackage.ts";

const CLEAN = { signal: null, stderr: "" };

describe.skipIf(!canEmulateAddon)(`a model on the device${needsEmulator}`, () => {
  let root: string;
  let library: string;
  let direct: string;
  beforeAll(() => {
    root = emulatedPackage();
    library = `
      const { loadModel } = await import("${root}/dist/index.js");
      const load = () => loadModel(undefined, { backend: "cuda" });`;
    direct = `
      const { Worker, parentPort } = await import("node:worker_threads");
      const { openFile } = await import("${root}/dist/checkpoint/openFile.js");
      const { openCuda } = await import("${root}/dist/backend/cuda/cuda.js");
      const { buildSampler } = await import("${root}/dist/llama2/sampler.js");
      const load = async () => openCuda().load(await openFile("${root}/models/stories2M.bin"), 512, { threads: 0 });
      const running = () => [{ token: 1, pos: 0, sequence: 0, sampler: buildSampler(2048, 1, 0.9, 1n), stop: -1 }];`;
  });

  /** `worker`, which decodes for ever. */
  const busyWorker = () => {
    const script = `(async () => {
      ${direct}
      const context = (await load()).openContext(1);
      parentPort.postMessage("begun");
      for (;;) for (const _ of context.decode(running(), 64));
    })()`;
    return `
      const worker = new Worker(${JSON.stringify(script)}, { eval: true });
      await new Promise((resolve, reject) => { worker.on("message", resolve); worker.on("error", reject); });
      await new Promise((resolve) => setTimeout(resolve, 50));`;
  };

  it("leaves the caller's event loop free, and yields tokens during the generation", async () => {
    const script = `${library}
      const model = await load();
      let turns = 0, between = 0, pieces = 0;
      const turn = () => { turns++; setImmediate(turn).unref(); };
      turn();
      for await (const _ of model.generate("", { seed: 1, maxTokens: 12 })) { pieces++; if (turns > 0) between++; turns = 0; }
      await model.dispose();
      console.log(pieces > 3, between >= pieces - 1);`;
    expect(await runScript(script)).toEqual({ ...CLEAN, code: 0, stdout: "true true\n" });
  });

  it("stops within a chunk when a signal aborts it, and the next story is unaffected", async () => {
    const script = `${library}
      const model = await load();
      const stop = new AbortController();
      let tokens = 0;
      const story = model.generate("", { seed: 1, signal: stop.signal });
      try {
        for await (const _ of story.slices()) { tokens = story.tokens.length; stop.abort(new Error("enough")); }
      } catch (error) { console.log(error.message, story.tokens.length === tokens); }
      const read = async () => { let text = ""; for await (const p of model.generate("", { seed: 2, maxTokens: 10 })) text += p; return text; };
      const first = await read();
      console.log(first.length > 10, first === await read());
      await model.dispose(); await model.dispose();`;
    expect(await runScript(script)).toEqual({ ...CLEAN, code: 0, stdout: "enough true\ntrue true\n" });
  });

  it("gives log-probabilities when asked, with the same tokens", async () => {
    const script = `${library}
      const model = await load();
      const attempt = async (onToken) => {
        const story = model.generate("Lily", { seed: 3, maxTokens: 10, onToken });
        for await (const _ of story);
        return story.tokens;
      };
      const logprobs = [];
      const tokens = await attempt(({ logprob }) => logprobs.push(logprob));
      console.log(tokens.join() === (await attempt()).join(), logprobs.length);
      const scored = (await model.score(tokens)).slice(-10);
      console.log(scored.every(({ logprob }, i) => logprob === logprobs[i]));
      await model.dispose();`;
    expect(await runScript(script)).toEqual({ ...CLEAN, code: 0, stdout: "true 10\ntrue\n" });
  });

  it.each(["the weights", "the context"])(
    "gives all back when memory ends in the middle of %s, and can be loaded then",
    async (what) => {
      const script = `
      process.env.EMULATOR_REFUSE = "${what === "the weights" ? 20 : 60}";
      ${direct}
      const { loadCudaAddon } = await import("${root}/dist/backend/cuda/addon.js");
      const addon = loadCudaAddon();
      const free = addon.freeMemory(0);
      const attempt = async () => {
        let at = "the weights";
        const model = await load();
        try {
          at = "the context";
          const context = model.openContext(1);
          at = "nothing";
          context.dispose();
        } catch (error) {
          throw Object.assign(error, { at });
        } finally {
          model.dispose();
        }
      };
      try { await attempt(); console.log("it fits"); } catch ({ code, at = "the weights" }) { console.log(code, at); }
      gc();
      await new Promise(setImmediate); // what the constructor left half done
      console.log(addon.freeMemory(0) === free);
      await attempt();`;
      expect(await runScript(script)).toEqual({ ...CLEAN, code: 0, stdout: `E_DEVICE_OOM ${what}\ntrue\n` });
    },
  );

  it("makes no calls to a lost device, and each request fails with the reason", async () => {
    const script = `
      process.env.EMULATOR_FAULT = "400"; // the model is loaded by then
      ${direct}
      const model = await load();
      const [context, other] = [model.openContext(1), model.openContext(1)];
      const said = [];
      const attempt = (work) => { try { work(); said.push("nothing"); } catch ({ code, message }) { said.push(code + " " + message); } };
      while (said.length === 0 || said.at(-1) === "nothing") {
        attempt(() => context.forward([{ token: 1, pos: 0, sequence: 0 }], 1));
      }
      const first = said.pop();
      said.length = 0;
      attempt(() => context.forward([{ token: 9999, pos: -1, sequence: 7 }], 1)); // not even looked at
      attempt(() => other.decode(running(), 1).next());
      attempt(() => [...other.decode(running(), 3)]);
      attempt(() => model.openContext(1));
      console.log(first.split(" ")[0], said.every((line) => line === first));
      context.dispose(); other.dispose(); model.dispose();`;
    expect(await runScript(script)).toEqual({ ...CLEAN, code: 0, stdout: "E_DEVICE_LOST true\n" });
  });

  it("survives worker.terminate() while it decodes, again and again", async () => {
    const script = `${direct}
      for (let i = 0; i < 3; i++) { ${busyWorker()} await worker.terminate(); }
      console.log("alive");`;
    expect(await runScript(script)).toEqual({ ...CLEAN, code: 0, stdout: "alive\n" });
  });

  it("survives process.exit() while a worker decodes", async () => {
    expect(await runScript(`${direct} ${busyWorker()} process.exit(7);`)).toEqual({ ...CLEAN, code: 7, stdout: "" });
  });

  it("survives process.exit(), and the end of the script, with nothing disposed of and a decode under way", async () => {
    const script = `${direct}
      globalThis.context = (await load()).openContext(2);
      globalThis.steps = context.decode(running(), 4);
      steps.next();`;
    expect(await runScript(script)).toEqual({ ...CLEAN, code: 0, stdout: "" });
    expect(await runScript(`${script} process.exit(8);`)).toEqual({ ...CLEAN, code: 8, stdout: "" });
  });

  it("survives dispose while a decode is under way, which then fails and says so", async () => {
    const script = `${direct}
      const context = (await load()).openContext(1);
      const steps = context.decode(running(), 4);
      steps.next();
      context.dispose();
      try { steps.next(); console.log("no error"); } catch (error) { console.log(error.message); }`;
    expect(await runScript(script)).toEqual({ ...CLEAN, code: 0, stdout: "this context has been disposed\n" });
  });

  it("survives forced garbage collection between steps, and frees what is no longer referenced", async () => {
    const script = `${direct}
      process.env.EMULATOR_MEMORY = "150000000"; // room for five
      for (let i = 0; i < 20; i++) {
        const context = (await load()).openContext(1);
        for (const _ of context.decode(running(), 1)) gc();
        gc();
        await new Promise(setImmediate); // finalizers run
      }
      console.log("alive");`;
    expect(await runScript(script, 60_000)).toEqual({ ...CLEAN, code: 0, stdout: "alive\n" });
  });
});
