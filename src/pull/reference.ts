/*
 * Parses the name of a model: a name of models/list.json, a Hugging Face repository or a file in it, or a URL.
 */
import { readFileSync } from "node:fs";
import { packagePath } from "../files/packageFolder.ts";

/** A file of a repository. */
export interface RepositoryFile {
  repository: string; // ORG/REPO
  revision: string;
  file: string;
}

/** A file whose bytes are known beforehand. */
export interface KnownFile extends RepositoryFile {
  bytes: number;
  sha256: string;
}

/** A model of models/list.json. */
export interface ListedModel {
  name: string;
  model: KnownFile;
  /** If it is from another repository, it is also placed beside the model. */
  tokenizer: KnownFile;
}

export type Reference =
  | { kind: "listed"; name: string; listed: ListedModel }
  | { kind: "repository"; name: string; repository: string; revision: string; file: string | undefined }
  | { kind: "url"; name: string; url: string };

interface ListEntry {
  url: string;
  bytes: number;
  sha256: string;
}

/** The models of models/list.json. */
export function listedModels(): ListedModel[] {
  const { models } = JSON.parse(readFileSync(packagePath("models", "list.json"), "utf8")) as {
    models: (ListEntry & { name: string; tokenizer: ListEntry })[];
  };
  return models.map(({ name, tokenizer, ...model }) => ({ name, model: known(model), tokenizer: known(tokenizer) }));
}

function known({ url, bytes, sha256 }: ListEntry): KnownFile {
  const place = repositoryFile(new URL(url).pathname);
  if (place?.file === undefined) throw new Error(`${url} is not a file of a repository`);
  return { ...place, file: place.file, bytes, sha256 };
}

/**
 * The model that `text` names; undefined if it cannot be a model's name.
 * @param endpoint the URL of Hugging Face: URLs below it are repositories or their files
 */
export function parseReference(text: string, endpoint: string): Reference | undefined {
  const listed = listedModels().find(({ name }) => name === text);
  if (listed) return { kind: "listed", name: text, listed };
  if (/^https?:\/\//i.test(text)) return parseUrl(text, endpoint);
  const parts = /^([^/@]+\/[^/@]+)(?:@([^/]+))?(?:\/(.+))?$/.exec(text);
  if (!parts) return undefined;
  const [, repository, revision = "main", file] = parts;
  if (!isRepository(repository) || !isRevision(revision) || (file !== undefined && !isSafePath(file))) return undefined;
  return toKnown({ kind: "repository", name: text, repository, revision, file });
}

/** A listed file gets its listed tokenizer, however it was named. */
function toKnown(reference: Extract<Reference, { kind: "repository" }>): Reference {
  const { name, repository, revision, file } = reference;
  const listed = listedModels().find(
    ({ model }) => model.repository === repository && model.revision === revision && model.file === file,
  );
  return listed ? { kind: "listed", name, listed } : reference;
}

function parseUrl(text: string, endpoint: string): Reference {
  if (text.startsWith(`${endpoint}/`) && URL.canParse(text)) {
    const place = repositoryFile(new URL(text).pathname.slice(new URL(endpoint).pathname.replace(/\/$/, "").length));
    if (place) return toKnown({ kind: "repository", name: text, ...place });
  }
  return { kind: "url", name: text, url: text };
}

/** A path on Hugging Face's server: /ORG/REPO, /ORG/REPO/tree/REV, or /ORG/REPO/resolve/REV/FILE. */
function repositoryFile(path: string): (Omit<RepositoryFile, "file"> & { file: string | undefined }) | undefined {
  const parts = /^\/([^/]+\/[^/]+?)\/?(?:\/(resolve|blob|raw|tree)\/([^/]+)(?:\/(.*))?)?$/.exec(path);
  if (!parts) return undefined;
  const [, repository, kind, revision = "main", rest = ""] = parts;
  let file: string | undefined;
  try {
    file = rest === "" ? undefined : decodeURIComponent(rest);
  } catch {
    return undefined;
  }
  const isWhole = kind === undefined || (kind === "tree" && file === undefined);
  if (!isRepository(repository) || !isRevision(revision) || (!isWhole && (file === undefined || kind === "tree"))) {
    return undefined;
  }
  return file === undefined || isSafePath(file) ? { repository, revision, file } : undefined;
}

/** The path of a listed model's tokenizer in the model's repository. One from elsewhere is placed beside the model. */
export function tokenizerPath({ model, tokenizer }: ListedModel): string {
  if (tokenizer.repository === model.repository) return tokenizer.file;
  return model.file.slice(0, model.file.lastIndexOf("/") + 1) + tokenizer.file;
}

/** ORG/REPO, as Hugging Face allows it. */
const isRepository = (text: string) =>
  text.length <= 200 && !/--|\.\./.test(text) && /^[A-Za-z0-9_][\w.-]*\/[A-Za-z0-9_][\w.-]*$/.test(text);

/** A branch, a tag or a commit, which becomes the name of a file. */
const isRevision = (text: string) => /^(?!.*\.\.)[A-Za-z0-9_][\w.-]{0,200}$/.test(text);

/** Device names of Windows. */
const DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/** Whether a file name from a server stays within its folder, on every operating system. */
export const isSafePath = (path: string): boolean =>
  path.length <= 1000 &&
  path
    .split("/")
    .every((part) => /^[^\\/:*?"<>|\p{Cc}]{1,200}$/u.test(part) && !/^\.+$|[. ]$/.test(part) && !DEVICE.test(part));
