// npm runs this after an install: build the native addon where that is possible. Never downloads, never fails.
import { buildNative } from "./native.mjs";

const why = buildNative({ loud: false });
if (why)
  console.error(
    `llama2.ts: no native cpu backend (${why}); it runs on the ts backend, slower and bit for bit the same`,
  );
