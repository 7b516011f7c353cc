/*
 * The model's thread where it is a worker of Node's: it reads the model from a file.
 */
import { basename } from "node:path";
import { type MessagePort, parentPort } from "node:worker_threads";
import { sequenceBytes } from "../backend/limits.ts";
import { load } from "../backend/load.ts";
import { availableMemory } from "../backend/memory.ts";
import { asInt8 } from "../checkpoint/int8.ts";
import { open as openCheckpoint } from "../checkpoint/open.ts";
import { filesAt } from "../files/disk.ts";
import { modelInfo } from "../modelInfo.ts";
import type { FromWorker, Setup } from "./protocol.ts";
import { type Opened, serve } from "./serve.ts";

const parent = parentPort as MessagePort;
const post = (message: FromWorker, transfer: ArrayBuffer[] = []) => parent.postMessage(message, transfer);

serve(
  {
    post,
    onMessage: (listener) => parent.on("message", listener),
    turn: () => new Promise((resolve) => setImmediate(resolve)),
    // Deno's has none; there this ends the thread and no more, as it does in Node
    close: () => (typeof parent.close === "function" ? parent.close() : process.exit()),
  },
  open,
);

async function open({ path, backend, threads, context, cuda }: Setup): Promise<Opened> {
  const checkpoint = await openCheckpoint(filesAt(path));
  try {
    post({ type: "opened", vocabSize: checkpoint.config.vocabSize });
    const name = nameOf(path);
    const { precision, ...others } = cuda;
    const source = precision === "int8" ? asInt8(checkpoint) : checkpoint;
    // every backend computes in the source's own precision; another one is chosen on cuda
    const isOwn = precision === "int8" || (precision === "fp32" && backend !== "cuda");
    const options = { ...(isOwn ? others : cuda), name };
    const { model, config, ...loaded } = await load(source, backend, context, threads, options);
    const info = modelInfo(source, config, { name, format: checkpoint.format, precision });
    const fitting = model.onDevice ? Infinity : Math.floor(availableMemory() / 4 / sequenceBytes(config));
    return {
      model,
      loaded: { type: "loaded", config, info, threads: model.threads, ...loaded },
      slots: Math.max(1, Math.min(Math.max(MIN_SLOTS, 2 * model.maxBatch), fitting)),
    };
  } finally {
    checkpoint.close();
  }
}

/** The name of a file or folder, without the endings that models have. */
const nameOf = (path: string) => basename(path).replace(/\.(bin|pt|pth|safetensors|gguf)$/, "");

/** On a backend whose passes are small. Twice as many as a pass has room for leave some to others while one asks for many. */
const MIN_SLOTS = 16;
