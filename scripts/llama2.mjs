#!/usr/bin/env node
/*
 * The command llama2. In a clone that has not been built yet, as with `npx .`, it builds first.
 */
import { existsSync } from "node:fs";

const main = new URL("../dist/node/main.js", import.meta.url);
if (!existsSync(main)) await import("./ready.mjs");
await import(main.href);
