/*
 * Imported before a program: at its end it writes the seconds of CPU time that the program took to standard error.
 */
import { writeSync } from "node:fs";

process.on("exit", () => {
  const { user, system } = process.cpuUsage();
  writeSync(2, `${(user + system) / 1e6}\n`);
});
