#!/usr/bin/env node
/*
 * The command llama2. Most of the time it tells a story: the thread for that starts at once, and the arguments are
 * read meanwhile.
 */
const needsNoModel = /^(-h|--help|help|-v|--version|(de)?tokenize|quantize)$/;
if (!process.argv.slice(2).some((arg) => needsNoModel.test(arg))) {
  const { startEarly } = await import("../run/startWorker.ts");
  startEarly();
}
const { main } = await import("./program.ts");
process.exitCode = await main();
