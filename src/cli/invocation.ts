/*
 * How the user calls this command, so that commands in messages work where they are printed.
 */
import { existsSync, realpathSync } from "node:fs";
import { basename, delimiter, dirname, join, relative, sep } from "node:path";

/** What this process was started with. */
interface Start {
  script: string; // process.argv[1]
  cwd: string;
  env: NodeJS.ProcessEnv;
}

/** The command before the arguments: `llama2` if it is on the path, or else `npx llama2.ts`, `npm start --`, ... */
export function invocation(start: Start = thisStart()): string {
  const { script, cwd, env } = start;
  const [agent] = (env.npm_config_user_agent ?? "npm").split("/");
  if (env.npm_lifecycle_event === "start" && env.npm_package_name === "llama2.ts") {
    return agent === "npm" ? "npm start --" : `${agent} start`;
  }
  // npx . runs a link in npm's cache
  const [room] = relative(real(cwd), real(script)).split(sep);
  const inClone = existsSync(join(cwd, "src", "cli")) && (room === "dist" || room === "scripts");
  if (env.npm_command === "exec") {
    if (agent === "pnpm") return "pnpm exec llama2";
    return inClone ? "npx ." : "npx llama2.ts";
  }
  if (agent === "yarn") return "yarn llama2";
  const name = basename(script).replace(/\.\w+$/, "");
  const path = (env.PATH ?? env.Path ?? "").split(delimiter);
  if (name === "llama2" && path.includes(dirname(script))) return name;
  const onPath = path.some((folder) => ["llama2", "llama2.cmd"].some((file) => existsSync(join(folder, file))));
  if (onPath && !inClone && /\.m?js$/.test(script)) return "llama2"; // through a wrapper script, as with pnpm and on Windows
  const file = quote(relative(cwd, script));
  return basename(script) === "llama2" ? (file.includes(sep) ? file : `.${sep}${file}`) : `node ${file}`;
}

/** The real path, through links; a broken path as it is. */
function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function thisStart(): Start {
  let cwd = ".";
  try {
    cwd = process.cwd();
  } catch {
    // the folder has been deleted
  }
  return { script: process.argv[1] ?? "llama2", cwd, env: process.env };
}

/** `text` as one argument of the shell. */
export function quote(text: string): string {
  if (/^[\w./:=@%+-]+$/.test(text)) return text;
  if (process.platform === "win32" || !/["$`\\!]/.test(text)) return `"${text}"`;
  return `'${text.replaceAll("'", "'\\''")}'`;
}
