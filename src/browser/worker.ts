/*
 * The model's thread as a worker of a page. It uses one thread: more would need shared memory, which browsers give only to
 * isolated pages.
 */
import type { Backend } from "../backend/backend.ts";
import { checkLimits } from "../backend/limits.ts";
import { ts } from "../backend/ts/ts.ts";
import { checkFits, estimate, fill, prepare } from "../backend/wasm/load.ts";
import { asInt8 } from "../checkpoint/int8.ts";
import { open as openCheckpoint } from "../checkpoint/open.ts";
import { Llama2Error } from "../errors.ts";
import { modelInfo } from "../modelInfo.ts";
import { withProgress } from "../run/progress.ts";
import type { FromWorker, Setup, ToWorker } from "../run/protocol.ts";
import { type Opened, serve } from "../run/serve.ts";
import { filesOfBlob } from "./blob.ts";
import type { Closed } from "./startWorker.ts";

const post = (message: FromWorker | Closed, transfer: ArrayBuffer[] = []) => self.postMessage(message, transfer);

// a message to itself: browsers delay timers by 4 ms
const { port1, port2 } = new MessageChannel();
let heard = () => {};
port1.addEventListener("message", () => heard());
port1.start();

serve(
  {
    post,
    onMessage: (listener) => self.addEventListener("message", ({ data }) => listener(data as ToWorker)),
    turn: () =>
      new Promise((resolve) => {
        heard = resolve;
        port2.postMessage(undefined);
      }),
    close() {
      post({ type: "closed" });
      self.close();
    },
  },
  open,
);

/** For all sequences together. Pages have less memory than programs, and it is not known how much. */
const MAX_CACHE_BYTES = 2 ** 29;

async function open({ path, progress, backend: named, threads, context, int8, page }: Setup): Promise<Opened> {
  if (!page) throw new Error("a page's worker was started as Node's");
  const checkpoint = await openCheckpoint(filesOfBlob({ name: path, blob: page.model }));
  post({ type: "opened", vocabSize: checkpoint.config.vocabSize });
  const plain = int8 ? asInt8(checkpoint) : checkpoint;
  const source = progress ? withProgress(plain, (done, of) => post({ type: "progress", done, of })) : plain;
  const { seqLen } = source.config;
  const contextLength = context === 0 ? seqLen : Math.min(context, seqLen);
  checkLimits(source, contextLength);
  const backend = named === "ts" ? ts : wasmIn(page.kernels);
  const { perSequence } = backend.estimate(source, contextLength, { threads: 1 });
  const model = await backend.load(source, contextLength, { threads: 1 });
  const config = { ...source.config, seqLen: contextLength };
  const info = modelInfo(source, config, { name: path.replace(/\.\w+$/, ""), format: checkpoint.format });
  const notes = threads > 1 ? ["in a browser a model runs on one thread"] : [];
  const { name, isa } = backend;
  return {
    model,
    exact: backend.exact,
    loaded: { type: "loaded", config, info, backend: name, isa, threads: model.threads, notes },
    slots: Math.max(1, Math.min(2 * model.maxBatch, Math.floor(MAX_CACHE_BYTES / perSequence))),
  };
}

/** The wasm backend with the kernels at this URL. */
const wasmIn = (kernels: string): Backend => ({
  name: "wasm",
  isa: "simd128",
  exact: true,
  estimate: (source, contextLength) => estimate(source, contextLength, 1),
  async load(source, contextLength) {
    checkFits(source, contextLength, 1);
    return fill(prepare(await compile(kernels), source, contextLength, 1, 0), source, contextLength);
  },
});

/** @throws Llama2Error E_DEVICE_UNAVAILABLE if the kernels cannot be fetched, or this browser cannot run them */
async function compile(url: string): Promise<WebAssembly.Module> {
  try {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`the server answers ${response.status}`);
    return await WebAssembly.compile(await response.arrayBuffer()); // streaming would need a server with the MIME type
  } catch (error) {
    const message = `the WebAssembly kernels at ${url} cannot be used: ${(error as Error).message}`;
    throw new Llama2Error("E_DEVICE_UNAVAILABLE", message);
  }
}
