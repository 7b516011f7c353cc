#!/usr/bin/env node
/*
 * The command llama2, also in a clone where nothing has been built yet, as `npx .` finds it: that is done first.
 */
import { existsSync } from "node:fs";

const main = new URL("../dist/node/main.js", import.meta.url);
if (!existsSync(main)) await import("./ready.mjs");
await import(main.href);
