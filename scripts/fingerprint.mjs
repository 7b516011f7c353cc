/*
 * Checks whether build products are up to date with their sources.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, realpathSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

/** Whether node was started with the module at `url`, also through a link. */
export const isMain = (url) =>
  existsSync(process.argv[1] ?? "") && realpathSync(process.argv[1]) === realpathSync(fileURLToPath(url));

/** A fingerprint of files and folders of the checkout: their paths, sizes and times. */
function fingerprint(sources) {
  const hash = createHash("sha256");
  const add = (path) => {
    const stat = statSync(path);
    if (stat.isDirectory()) for (const name of readdirSync(path).sort()) add(join(path, name));
    else hash.update(`${path}\0${stat.size}\0${stat.mtimeMs}\0`);
  };
  for (const name of sources) add(join(root, name));
  return hash.digest("hex");
}

/** Something that is built in `folder` from `sources`. */
export function product(folder, sources) {
  const stamp = join(root, folder, ".built-from");
  return {
    isFresh: () => existsSync(stamp) && readFileSync(stamp, "utf8") === fingerprint(sources),
    markFresh: () => writeFileSync(stamp, fingerprint(sources)),
  };
}
