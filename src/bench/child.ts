/*
 * The process that one model lives in while it is measured: its peak memory is its own. Its parent is child's other end,
 * process.ts.
 */
import { describe } from "../run/failure.ts";
import { Engine } from "./engine.ts";
import type { FromChild, ToChild } from "./process.ts";

let engine: Engine | undefined;

const send = (message: FromChild) => process.send?.(message);

process.on("message", async (message: ToChild) => {
  try {
    if (message.type === "load") {
      engine = await Engine.load(message.spec);
      send({ type: "loaded", info: engine.info });
    } else if (engine) {
      send({ type: "sample", sample: engine.run(message.work) });
    }
  } catch (error) {
    send({ type: "failed", error: describe(error) });
  }
});
process.on("SIGINT", () => {}); // Ctrl-C is for the parent, which ends this one
process.on("disconnect", () => process.exit());
