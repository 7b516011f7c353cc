/*
 * npm runs this after an install: it builds the native addon if possible. It never downloads and never fails.
 */
import { buildNative } from "./native.mjs";

try {
  const why = await buildNative();
  if (why) console.error(`llama2.ts: no native cpu backend (${why}); wasm remains, the same bit for bit`);
} catch (error) {
  console.error(`llama2.ts: no native cpu backend (${error.message}); wasm remains, the same bit for bit`);
}
