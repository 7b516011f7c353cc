#!/usr/bin/env node
/*
 * The command llama2. Usually it tells a story, so the thread for that starts at once, while the arguments are parsed.
 */
const needsNoModel =
  /^(-h|--help|help|-v|--version|(de)?tokenize|quantize|bench|doctor|fit|inspect|convert|import|pull|models|trace|study)$/;
const loading = import("./program.ts");
if (!process.argv.slice(2).some((arg) => needsNoModel.test(arg))) {
  const { startEarly } = await import("../run/startWorker.ts");
  startEarly();
}
const { main } = await loading;
process.exitCode = await main();
