/*
 * The models that are here: the bundled one, and those in the cache that can be opened.
 */
import { type Dirent, readdirSync } from "node:fs";
import { join } from "node:path";
import { Llama2Error } from "./errors.ts";
import { inspect } from "./inspect.ts";
import { BUNDLED_MODEL } from "./loadModel.ts";
import { type CachedRepository, cachedRepositories } from "./pull/cache.ts";
import { isFile } from "./pull/find.ts";
import { isModelFile, isOfFolder } from "./pull/kinds.ts";
import { listedModels } from "./pull/reference.ts";
import { settingsOf } from "./pull/settings.ts";

export interface KnownModel {
  /** The name by which commands find it. */
  name: string;
  format: string;
  parameters: number;
  bytes: number;
  path: string;
  bundled: boolean;
}

/** @throws Llama2Error E_USAGE for an invalid HF_ENDPOINT */
export async function knownModels(): Promise<KnownModel[]> {
  const bundled = await describe("stories2M", BUNDLED_MODEL, true);
  const models = bundled ? [bundled] : [];
  for (const repository of cachedRepositories(settingsOf().cache)) {
    for (const revision of repository.revisions()) models.push(...(await modelsOf(repository, revision)));
  }
  return models;
}

/** The models of a snapshot: the folder as a whole, and the files that are models by themselves. */
async function modelsOf(repository: CachedRepository, revision: string): Promise<KnownModel[]> {
  const folder = repository.find(revision);
  if (folder === undefined) return [];
  const files = filesBelow(folder);
  const called = revision === "main" ? repository.id : `${repository.id}@${revision}`;
  const found: (KnownModel | undefined)[] = [];
  if (files.some(isOfFolder)) found.push(await describe(called, folder));
  for (const file of files.filter(isModelFile)) {
    const listed = listedModels().find(
      ({ model }) => model.repository === repository.id && model.revision === revision && model.file === file,
    );
    found.push(await describe(listed?.name ?? `${called}/${file}`, join(folder, file)));
  }
  return found.filter((model) => model !== undefined);
}

/** What a model is; undefined if it cannot be opened. */
async function describe(name: string, path: string, bundled = false): Promise<KnownModel | undefined> {
  try {
    const { format, parameters, bytes, runs } = await inspect(path);
    return runs ? { name, format, parameters, bytes, path, bundled } : undefined;
  } catch (error) {
    if (error instanceof Llama2Error) return undefined;
    throw error;
  }
}

/** The paths of the files in a folder and below, with slashes. Links to folders are not followed: they may lead anywhere. */
function filesBelow(folder: string, below = ""): string[] {
  const paths = entriesOf(join(folder, below)).flatMap((entry) => {
    const path = below + entry.name;
    return entry.isDirectory() ? filesBelow(folder, `${path}/`) : isFile(join(folder, path)) ? [path] : [];
  });
  return paths.sort();
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return []; // it may not be read, or has gone
  }
}
