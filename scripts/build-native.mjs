/*
 * npm run build:native: builds the native addon anew, or says what is missing.
 */
import { buildNative } from "./native.mjs";

console.error("building the native cpu backend ...");
const why = await buildNative({ anew: true });
if (why) console.error(`the native cpu backend was not built: ${why}`);
else console.error("built");
process.exitCode = why ? 1 : 0;
