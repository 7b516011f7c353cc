#!/usr/bin/env node
/*
 * The command llama2. Most of the time it tells a story: the thread for that starts at once, and the arguments are
 * read meanwhile.
 */
import { startEarly } from "../run/client.ts";

startEarly();
const { main } = await import("./program.ts");
process.exitCode = await main();
