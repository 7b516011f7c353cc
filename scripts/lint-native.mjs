/*
 * Checks the format of the native code with clang-format; with --write, formats it. If clang-format is not installed, it
 * says so and checks nothing.
 */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "./fingerprint.mjs";

const native = join(root, "native");
const files = readdirSync(native, { recursive: true }).filter((name) => /\.(cpp|h|cu|cuh)$/.test(name));
const mode = process.argv.includes("--write") ? ["-i"] : ["--dry-run", "-Werror"];

const { status, error } = spawnSync("clang-format", [...mode, ...files], { cwd: native, stdio: "inherit" });
if (error) console.error(`the native code was not checked: clang-format does not run here (${error.message})`);
else process.exitCode = status ?? 1;
