/*
 * Finds the model with a name: a path, or one that has been fetched.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { CachedRepository } from "./cache.ts";
import { isModelFile, isOfFolder } from "./kinds.ts";
import { parseReference, type Reference } from "./reference.ts";
import { settingsOf } from "./settings.ts";

/**
 * The path of a model: `name` itself if that path exists, or else where `pull` put it.
 * @throws Llama2Error E_USAGE if HF_ENDPOINT is not a URL
 */
export function findModel(name: string): string | undefined {
  if (existsSync(name)) return name;
  const { cache, endpoint } = settingsOf();
  const reference = parseReference(name, endpoint);
  return reference === undefined || reference.kind === "url" ? undefined : pathOf(reference, cache);
}

/** The path of a model in the cache: a file or a folder; undefined if it is not there. */
export function pathOf(reference: Exclude<Reference, { kind: "url" }>, cache: string): string | undefined {
  const { repository, revision, file } = reference.kind === "listed" ? reference.listed.model : reference;
  const folder = new CachedRepository(cache, repository).find(revision);
  if (folder === undefined) return undefined;
  const path = file === undefined ? modelIn(folder) : join(folder, file);
  return path !== undefined && (path === folder || isFile(path)) ? path : undefined;
}

/** Whether a path is a file, not a folder, a device or a broken link. */
export function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Whether `name` is more likely something to pull than a path: no folder begins like it. */
export function canBePulled(name: string): boolean {
  const reference = parseReference(name, settingsOf().endpoint);
  if (reference?.kind === "listed") return true;
  return reference?.kind === "repository" && !existsSync(name.split("/")[0]);
}

/** The model in a folder of the cache, which may have only a part of a repository: the folder, or its one model file. */
function modelIn(folder: string): string | undefined {
  const names = readdirSync(folder);
  if (names.some(isOfFolder)) return folder;
  const single = names.filter(isModelFile);
  if (single.length === 0) return undefined;
  return single.length === 1 ? join(folder, single[0]) : folder;
}
