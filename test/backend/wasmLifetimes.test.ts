import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.ts";
import { type Ended, runScript } from "../helpers/child.ts";
import { ROOT } from "../helpers/golden.ts";

const MODEL = checkpointFile(SHAPES["260K"]);
const built = (path: string) => JSON.stringify(`${pathToFileURL(ROOT)}/dist/${path}`);

/** Run a script in a process of its own, in which `model` is loaded on three threads and `read(n)` reads n tokens. */
function inChild(script: string): Promise<Ended> {
  return runScript(`
    import { openFile } from ${built("checkpoint/openFile.js")};
    import { wasm } from ${built("backend/wasm/wasm.js")};
    const model = await wasm.load(await openFile(${JSON.stringify(MODEL)}), 512, { threads: 3 });
    const context = model.openContext(1);
    const read = (n) => {
      for (let pos = 0; pos < n; pos++) context.forward([{ token: 1, pos: pos % 512, sequence: 0 }], 1);
    };
    ${script}`);
}

describe("the threads of the wasm backend", () => {
  it("do not keep the process alive", async () => {
    expect(await inChild("read(3); console.log('read');")).toEqual({
      code: 0,
      signal: null,
      stdout: "read\n",
      stderr: "",
    });
  });

  it("do not delay process.exit, asleep or at work", async () => {
    for (const pause of [0, 100]) {
      const script = `read(50); setTimeout(() => process.exit(7), ${pause});`;
      expect(await inChild(script)).toEqual({ code: 7, signal: null, stdout: "", stderr: "" });
    }
  });

  it("end with the worker that holds the model, also in the middle of a forward pass", async () => {
    const work = `
      import { parentPort } from "node:worker_threads";
      import { openFile } from ${built("checkpoint/openFile.js")};
      import { wasm } from ${built("backend/wasm/wasm.js")};
      const context = (await wasm.load(await openFile(${JSON.stringify(MODEL)}), 512, { threads: 3 })).openContext(1);
      parentPort.postMessage("loaded");
      for (let i = 0; ; i++) context.forward([{ token: 1, pos: i % 512, sequence: 0 }], 1);`;
    const script = `
      import { Worker } from "node:worker_threads";
      const worker = new Worker(new URL(${JSON.stringify(`data:text/javascript,${encodeURIComponent(work)}`)}));
      worker.once("message", () => setTimeout(async () => {
        await worker.terminate();
        console.log("terminated");
      }, 50));`;
    expect(await inChild(script)).toEqual({ code: 0, signal: null, stdout: "terminated\n", stderr: "" });
  });

  it("end when the model is disposed, which may happen twice", async () => {
    const script = `
      import { readdirSync } from "node:fs";
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
    expect(await inChild(script)).toEqual({ code: 0, signal: null, stdout: "true\n", stderr: "" });
  });

  it("sleep when there is nothing to do", async () => {
    const script = `
      read(50);
      setTimeout(() => {
        const start = process.cpuUsage();
        setTimeout(() => {
          const { user, system } = process.cpuUsage(start);
          console.log(user + system < 100_000);
        }, 500);
      }, 200);`;
    expect((await inChild(script)).stdout).toBe("true\n");
  });
});
