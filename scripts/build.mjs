/*
 * Builds dist/ from src/.
 */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const tsc = fileURLToPath(new URL("../node_modules/typescript/bin/tsc", import.meta.url));

rmSync(`${root}/dist`, { recursive: true, force: true });
const { status } = spawnSync(process.execPath, [tsc], { cwd: root, stdio: "inherit" });
process.exit(status ?? 1);
