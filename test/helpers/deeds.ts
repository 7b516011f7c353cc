/*
 * Operations on a model, two at a time, in a process of its own. A promise that never settles shows as a process
 * that ends before its last line: Node then exits with 13, or even with 0.
 */
import { type Ended, runScript } from "./child.ts";

/** What is done, and whether it may fail when the other disposes the model. */
const DEEDS: Record<string, string> = {
  generate: `for await (const _ of model.generate("Once", { temperature: 0, maxTokens: 24 }));`,
  logits: `for await (const _ of model.logits([1, 403, 407, 261, 378]));`,
  score: `await model.score([1, 403, 407, 261, 378]);`,
  abort: `
    const controller = new AbortController();
    const signal = controller.signal;
    for await (const _ of model.generate("", { temperature: 0, signal })) controller.abort(new Error("enough"));`,
  break: `for await (const _ of model.generate("", { temperature: 0 })) break;`,
  "return without next": `await model.generate("")[Symbol.asyncIterator]().return();`,
  "forget it": `await model.generate("", { maxTokens: 5 })[Symbol.asyncIterator]().next();`,
  dispose: `await model.dispose();`,
  "await using": `await model[Symbol.asyncDispose]();`,
};
export const NAMES = Object.keys(DEEDS);

/** Do the first, then at once or after `waitMs` the second, then dispose the model twice. */
export function doBoth(first: string, second: string, waitMs: number): Promise<Ended> {
  return runScript(`
    import { loadModel } from "llama2.ts";
    const model = await loadModel(undefined, { backend: "ts", context: 64 });
    const first = (async () => { ${DEEDS[first]} })();
    first.catch(() => {}); // it may fail before anybody waits for it
    ${waitMs > 0 ? `await new Promise((resolve) => setTimeout(resolve, ${waitMs}));` : ""}
    const second = (async () => { ${DEEDS[second]} })();
    const ends = await Promise.allSettled([first, second]);
    await model.dispose();
    await model.dispose();
    for (const { reason } of ends) {
      if (reason && reason.message !== "enough" && reason.code !== "E_USAGE") console.log(reason);
    }
    console.log("the last line");`);
}

export const WELL: Ended = { code: 0, signal: null, stdout: "the last line\n", stderr: "" };
