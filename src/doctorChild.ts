/*
 * The process in which doctor tries the backend named by its argument. Its parent is doctorCheck.ts.
 */
import { BACKENDS } from "./backend/names.ts";
import { openBackend } from "./backend/openers.ts";
import { checkBackend, type Said } from "./doctorCheck.ts";
import { describe } from "./run/failure.ts";

const send = (said: Said) => process.send?.(said);

try {
  const name = BACKENDS.find((one) => one === process.argv[2]);
  if (name === undefined) throw new Error(`there is no backend ${process.argv[2]}`);
  send({ checked: await checkBackend(await openBackend(name)) });
} catch (error) {
  send({ failure: describe(error) });
}
