/*
 * The process that measures one model, so that its peak memory is that model's; or one that measures memory bandwidth.
 * Its parent is process.ts.
 */
import { describe } from "../run/failure.ts";
import { Engine } from "./engine.ts";
import type { FromChild, ToChild } from "./process.ts";
import { sweep } from "./sweep.ts";

let engine: Engine | undefined;

const send = (message: FromChild) => process.send?.(message);

process.on("message", async (message: ToChild) => {
  try {
    if (message.type === "load") {
      engine = await Engine.load(message.spec);
      send({ type: "loaded", info: engine.info });
    } else if (message.type === "sweep") {
      send({ type: "swept", swept: await sweep(message.sweep, message.seconds) });
    } else if (engine) {
      send({ type: "sample", sample: engine.run(message.work) });
    }
  } catch (error) {
    send({ type: "failed", error: describe(error) });
  }
});
process.on("SIGINT", () => {}); // Ctrl-C is for the parent, which ends this one
process.on("disconnect", () => process.exit());
