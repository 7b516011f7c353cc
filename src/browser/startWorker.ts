/*
 * Starts the model's thread as a worker of a page.
 */
import { Llama2Error } from "../errors.ts";
import type { Channel } from "../run/client.ts";
import type { FromWorker } from "../run/protocol.ts";

/** A worker's last message, since browsers do not report that a worker has ended. */
export interface Closed {
  type: "closed";
}

/**
 * A thread that has no model yet.
 * @param url of worker.js; default: beside this module, where bundlers find it by the literal form of its URL
 */
export function startWorker(url: URL | undefined): Channel {
  const worker = url
    ? new Worker(url, { type: "module" })
    : new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  return {
    post: (message, transfer = []) => worker.postMessage(message, transfer),
    onMessage(listener) {
      worker.addEventListener("message", ({ data }) => {
        if ((data as FromWorker | Closed).type !== "closed") listener(data as FromWorker);
      });
    },
    onExit(listener) {
      worker.addEventListener("message", ({ data }) => {
        if ((data as Closed).type === "closed") listener(new Error("the model's worker has ended"));
      });
      worker.addEventListener("error", (event) => {
        event.preventDefault();
        worker.terminate();
        // an event without a message: its file could not be loaded
        if (event.message) listener(new Error(`the model's worker failed: ${event.message}`));
        else listener(new Llama2Error("E_DEVICE_UNAVAILABLE", `the model's worker could not be started${where(url)}`));
      });
    },
    keepAlive() {}, // a page stays alive anyway
    terminate: async () => worker.terminate(),
  };
}

const where = (url: URL | undefined) =>
  url ? ` from ${url.href}` : ". Name the folder of worker.js in the option assets";
