/*
 * The model's thread as a Node worker: it reads the model from a file.
 */
import { type MessagePort, parentPort } from "node:worker_threads";
import type { LoadedModel, Memory } from "../backend/backend.ts";
import { load } from "../backend/load.ts";
import { availableMemory } from "../backend/memory.ts";
import { asInt8 } from "../checkpoint/int8.ts";
import { open as openCheckpoint } from "../checkpoint/open.ts";
import { filesAt } from "../files/disk.ts";
import { modelName } from "../files/modelName.ts";
import { modelInfo } from "../modelInfo.ts";
import { withProgress } from "./progress.ts";
import type { FromWorker, Setup } from "./protocol.ts";
import { type Opened, serve } from "./serve.ts";

const parent = parentPort as MessagePort;
const post = (message: FromWorker, transfer: ArrayBuffer[] = []) => parent.postMessage(message, transfer);

serve(
  {
    post,
    onMessage: (listener) => parent.on("message", listener),
    turn: () => new Promise((resolve) => setImmediate(resolve)),
    // in Deno parentPort has no close, and process.exit ends only the thread, as in Node
    close: () => (typeof parent.close === "function" ? parent.close() : process.exit()),
  },
  open,
);

async function open({ path, progress, backend, threads, context, int8, own }: Setup): Promise<Opened> {
  const checkpoint = await openCheckpoint(filesAt(path));
  try {
    post({ type: "opened", vocabSize: checkpoint.config.vocabSize });
    const name = modelName(path);
    const plain = int8 ? asInt8(checkpoint) : checkpoint;
    const source = progress ? withProgress(plain, (done, of) => post({ type: "progress", done, of })) : plain;
    const { model, config, memory, exact, ...loaded } = await load(source, backend, context, threads, { name, own });
    const info = modelInfo(source, config, { name, format: checkpoint.format, precision: own.precision });
    return {
      model,
      exact,
      loaded: { type: "loaded", config, info, threads: model.threads, ...loaded },
      slots: Math.min(Math.max(MIN_SLOTS, 2 * model.maxBatch), sequencesThatFit(memory, model)),
    };
  } finally {
    checkpoint.close();
  }
}

/** A context that takes its memory at once may use all that is left; otherwise a quarter, since others need it too. */
function sequencesThatFit({ weights, perSequence, scratch, available }: Memory, { reserves }: LoadedModel): number {
  const left = available - weights - scratch;
  const share = reserves ? left : Math.min(left, availableMemory() / 4);
  return Math.max(1, Math.floor(share / perSequence));
}

/** The fewest slots, for backends with small passes. Otherwise twice a pass, so that one large request leaves some free. */
const MIN_SLOTS = 16;
