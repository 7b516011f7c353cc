/*
 * Finds what was fetched before, without asking a server.
 */
import { readdirSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { hashFile } from "../files/hashFile.ts";
import { CachedRepository } from "./cache.ts";
import { isFile, pathOf } from "./find.ts";
import { isCompanion, isOfFolder } from "./kinds.ts";
import { type KnownFile, type ListedModel, type Reference, tokenizerPath } from "./reference.ts";
import type { Settings } from "./settings.ts";

export interface Pulled {
  name: string;
  /** The path of the model: a file or a folder. */
  path: string;
  files: { path: string; bytes: number; sha256: string }[];
  downloadedBytes: number;
}

/**
 * A model that needs no server: a listed one, whose digests are known; or offline, any model that is here.
 * @throws Llama2Error E_FILE; the signal's reason
 */
export async function pulledBefore(
  reference: Reference,
  { cache, offline }: Settings,
  signal: AbortSignal | undefined,
): Promise<Pulled | undefined> {
  if (reference.kind === "url") return undefined;
  const path = pathOf(reference, cache);
  if (path === undefined) return undefined;
  const isWhole = reference.kind === "listed" && (await isListed(reference.listed, cache, signal));
  if (!isWhole && !offline) return undefined;
  const files: Pulled["files"] = [];
  for (const file of filesOf(path)) {
    files.push({ path: file, bytes: statSync(file).size, sha256: await digestOf(file, signal) });
  }
  return { name: reference.name, path, files, downloadedBytes: 0 };
}

/** Whether both files of a listed model are here, with the right digests. */
async function isListed(listed: ListedModel, cache: string, signal: AbortSignal | undefined): Promise<boolean> {
  const { model, tokenizer } = listed;
  const folder = new CachedRepository(cache, model.repository).find(model.revision) ?? "";
  const isIt = async (path: string, { bytes, sha256 }: KnownFile) =>
    isFile(path) && statSync(path).size === bytes && (await digestOf(path, signal)) === sha256;
  return (await isIt(join(folder, model.file), model)) && (await isIt(join(folder, tokenizerPath(listed)), tokenizer));
}

/** The files of a model: those of its folder, or its file and the companions beside it. */
function filesOf(path: string): string[] {
  const isFolder = statSync(path).isDirectory();
  const folder = isFolder ? path : dirname(path);
  const names = readdirSync(folder).filter((name) => isCompanion(name) || (isFolder && isOfFolder(name)));
  const files = names.map((name) => join(folder, name)).filter((file) => file !== path && isFile(file));
  return isFolder ? files : [...files, path];
}

/** The sha256 of a file in the cache. For large files it is the name of the link's target. */
function digestOf(path: string, signal: AbortSignal | undefined): Promise<string> | string {
  const name = basename(realpathSync(path));
  return /^[0-9a-f]{64}$/.test(name) ? name : hashFile(path, signal);
}
