/*
 * The model's thread where it is a worker of a page. It computes alone: threads need memory that is shared, which
 * browsers give to isolated pages only.
 */
import type { LoadedModel } from "../backend/backend.ts";
import { checkLimits, sequenceBytes } from "../backend/limits.ts";
import { ts } from "../backend/ts/ts.ts";
import { checkFits, fill, prepare } from "../backend/wasm/load.ts";
import { asInt8 } from "../checkpoint/int8.ts";
import { open as openCheckpoint } from "../checkpoint/open.ts";
import { Llama2Error } from "../errors.ts";
import type { WeightSource } from "../llama2/weights.ts";
import { modelInfo } from "../modelInfo.ts";
import type { FromWorker, Setup, ToWorker } from "../run/protocol.ts";
import { type Opened, serve } from "../run/serve.ts";
import { filesOfBlob } from "./blob.ts";
import type { Closed } from "./startWorker.ts";

const post = (message: FromWorker | Closed, transfer: ArrayBuffer[] = []) => self.postMessage(message, transfer);

// a message to itself: browsers make timers wait for 4 ms
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

/** For all sequences together. Pages have less memory than programs, and nobody says how much. */
const MAX_CACHE_BYTES = 2 ** 29;

async function open({ path, backend: named, threads, context, cuda, page }: Setup): Promise<Opened> {
  if (!page) throw new Error("a page's worker was started as Node's");
  const checkpoint = await openCheckpoint(filesOfBlob({ name: path, blob: page.model }));
  post({ type: "opened", vocabSize: checkpoint.config.vocabSize });
  const source = cuda.precision === "int8" ? asInt8(checkpoint) : checkpoint;
  const { seqLen } = source.config;
  const contextLength = context === 0 ? seqLen : Math.min(context, seqLen);
  checkLimits(source, contextLength);
  const backend = named === "ts" ? "ts" : "wasm";
  const model = await LOAD[backend](source, contextLength, page.kernels);
  const config = { ...source.config, seqLen: contextLength };
  const info = modelInfo(source, config, { name: path.replace(/\.\w+$/, ""), format: checkpoint.format });
  const isa = backend === "wasm" ? "simd128" : ts.isa;
  const notes = threads > 1 ? ["in a browser a model runs on one thread"] : [];
  const fitting = Math.floor(MAX_CACHE_BYTES / sequenceBytes(config));
  return {
    model,
    loaded: { type: "loaded", config, info, backend, isa, threads: model.threads, notes },
    slots: Math.max(1, Math.min(2 * model.maxBatch, fitting)),
  };
}

type Load = (source: WeightSource, contextLength: number, kernels: string) => Promise<LoadedModel>;
const LOAD: Record<"wasm" | "ts", Load> = {
  ts: (source, contextLength) => ts.load(source, contextLength, { threads: 1 }),
  async wasm(source, contextLength, kernels) {
    checkFits(source, contextLength, 1);
    return fill(prepare(await compile(kernels), source, contextLength, 1, 0), source, contextLength);
  },
};

/** @throws Llama2Error E_DEVICE_UNAVAILABLE if the kernels are not there, or this browser cannot run them */
async function compile(url: string): Promise<WebAssembly.Module> {
  try {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`the server answers ${response.status}`);
    return await WebAssembly.compile(await response.arrayBuffer()); // not streamed: that needs a server that knows the type
  } catch (error) {
    const message = `the WebAssembly kernels at ${url} cannot be used: ${(error as Error).message}`;
    throw new Llama2Error("E_DEVICE_UNAVAILABLE", message);
  }
}
