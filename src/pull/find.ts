/*
 * What the name of a model means: a path, or something that has been fetched.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { CachedRepository } from "./cache.ts";
import { isModelFile, isOfFolder } from "./kinds.ts";
import { parseReference, type Reference } from "./reference.ts";
import { settingsOf } from "./settings.ts";

/**
 * The path of a model: `name` itself where something has that path, or else where `pull` put it.
 * @throws Llama2Error E_USAGE if HF_ENDPOINT is not a URL
 */
export function findModel(name: string): string | undefined {
  if (existsSync(name)) return name;
  const { cache, endpoint } = settingsOf();
  const reference = parseReference(name, endpoint);
  return reference === undefined || reference.kind === "url" ? undefined : pathOf(reference, cache);
}

/** Where in the cache a model is: a file, or a folder; undefined if it is not there. */
export function pathOf(reference: Exclude<Reference, { kind: "url" }>, cache: string): string | undefined {
  const { repository, revision, file } = reference.kind === "listed" ? reference.listed.model : reference;
  const folder = new CachedRepository(cache, repository).find(revision);
  if (folder === undefined) return undefined;
  const path = file === undefined ? modelIn(folder) : join(folder, file);
  return path !== undefined && (path === folder || isFile(path)) ? path : undefined;
}

/** Whether a path leads to a file, not to a folder or a device; a link that leads nowhere, or in a circle, does not. */
export function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Whether `name` is more likely something to pull than the path of a file: no folder begins like it. */
export function canBePulled(name: string): boolean {
  const reference = parseReference(name, settingsOf().endpoint);
  if (reference?.kind === "listed") return true;
  return reference?.kind === "repository" && !existsSync(name.split("/")[0]);
}

/** The model in a folder of the cache, which may hold a part of a repository only: the folder, or the one file. */
function modelIn(folder: string): string | undefined {
  const names = readdirSync(folder);
  if (names.some(isOfFolder)) return folder;
  const single = names.filter(isModelFile);
  if (single.length === 0) return undefined;
  return single.length === 1 ? join(folder, single[0]) : folder;
}
