/*
 * Chooses the files of a repository that make up a model.
 */
import { Llama2Error } from "../errors.ts";
import { baseOf, FILE_FORMS, FOLDER_FORMS, isCompanion } from "./kinds.ts";
import type { RemoteFile, Repository } from "./repository.ts";

/** The largest companion file that is fetched, in bytes; tokenizers of large vocabularies have 20 MB. */
const MAX_COMPANION = 2 ** 26;

/** The files to fetch, and which of them is the model, if it is not their folder. */
export interface Choice {
  files: RemoteFile[];
  model: RemoteFile | undefined;
}

/**
 * The files of a repository's only model, or of the named one.
 * @throws Llama2Error E_FORMAT if it has none of that name, or no model at all; E_USAGE if it has several
 */
export function choose(repository: Repository, named: string | undefined): Choice {
  const { files, id } = repository;
  if (named !== undefined) {
    const model = files.find(({ path }) => path === named);
    if (model) return { files: [model, ...companionsOf(model, files)], model };
    throw new Llama2Error("E_FORMAT", `${id} has no file ${named}. ${listOf(files)}`);
  }
  const top = files.filter(({ path }) => !path.includes("/"));
  for (const form of FOLDER_FORMS) {
    const weights = top.filter(({ path }) => form.test(path));
    if (weights.length > 0) return { files: [...companions(top), ...weights], model: undefined };
  }
  for (const form of FILE_FORMS) {
    const models = files.filter(({ path }) => form.test(baseOf(path)));
    if (models.length === 1) return { files: [models[0], ...companionsOf(models[0], files)], model: models[0] };
    if (models.length > 1) {
      throw new Llama2Error("E_USAGE", [`${id} has several models. Name one:`, ...models.map(lineOf(id))].join("\n"));
    }
  }
  throw new Llama2Error("E_FORMAT", `${id} has no model that is known here. ${listOf(files)}`);
}

/** The files in the same folder that belong to a file of weights. A GGUF needs none. */
function companionsOf({ path }: RemoteFile, files: readonly RemoteFile[]): RemoteFile[] {
  if (/\.gguf$/i.test(path) || !/\.(bin|safetensors|pth?)$/.test(path)) return [];
  const folder = path.slice(0, path.lastIndexOf("/") + 1);
  const beside = files.filter((file) => file.path.startsWith(folder) && !file.path.slice(folder.length).includes("/"));
  return companions(beside).filter((file) => file.path !== path);
}

const companions = (files: readonly RemoteFile[]) =>
  files.filter(({ path, bytes }) => isCompanion(path) && bytes <= MAX_COMPANION);

const lineOf =
  (id: string) =>
  ({ path, bytes }: RemoteFile) =>
    `  ${id}/${path}  ${(bytes / 1e6).toFixed(1)} MB`;

/** The first names, for a message. */
function listOf(files: readonly RemoteFile[]): string {
  const names = files.slice(0, 12).map(({ path }) => path);
  return `It has ${names.join(", ") || "no files"}${files.length > names.length ? " and others" : ""}`;
}
