/*
 * Imported before a program: when the program ends, this prints its CPU time in seconds on standard error.
 */
import { writeSync } from "node:fs";

process.on("exit", () => {
  const { user, system } = process.cpuUsage();
  writeSync(2, `${(user + system) / 1e6}\n`);
});
