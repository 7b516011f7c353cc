/*
 * npm run build:native: builds the native addon, and says loudly what is missing if that does not work.
 */
import { buildNative } from "./native.mjs";

const why = buildNative({ loud: true });
if (why) {
  console.error(`the native cpu backend was not built: ${why}`);
  process.exitCode = 1;
}
