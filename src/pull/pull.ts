/*
 * Fetches models: by a listed name, from any Hugging Face repository, or from any URL.
 */
import { existsSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { checkFunction, checkOptions, checkSignal, show, usage } from "../check.ts";
import { Llama2Error } from "../errors.ts";
import { hashFile } from "../files/hashFile.ts";
import { shown, type Waiting } from "../net/answers.ts";
import { type Client, httpClient, webUrl } from "../net/client.ts";
import { CachedRepository } from "./cache.ts";
import { choose } from "./choose.ts";
import { checkRoom, download } from "./download.ts";
import { type Pulled, pulledBefore } from "./here.ts";
import {
  isSafePath,
  type KnownFile,
  type ListedModel,
  parseReference,
  type Reference,
  tokenizerPath,
} from "./reference.ts";
import { fileUrl, type RemoteFile, type Repository, readRepository } from "./repository.ts";
import { offlineError, type Settings, settingsOf, tokenOf } from "./settings.ts";

export type { Pulled };

export interface PullOptions extends Waiting {
  /** Called as bytes come. */
  onProgress?: (progress: PullProgress) => void;
}

export interface PullProgress {
  /** The file being fetched. */
  name: string;
  /** Bytes fetched so far, earlier calls included, of `total`. */
  done: number;
  total: number;
  /** Bytes fetched by this call. */
  downloaded: number;
}

/** A file to fetch, with its source and its destination. */
interface Wanted {
  from: Repository;
  file: RemoteFile;
  /** Its path in the snapshot, if it differs from the path in its repository. */
  as?: string;
}

/**
 * Fetch a model, or its missing files, into the cache that Hugging Face's tools share.
 * @param name of models/list.json; ORG/REPO, ORG/REPO@REVISION, ORG/REPO/FILE; or a URL, whose file goes into the
 *   current folder unless it is one of Hugging Face's
 * @throws Llama2Error E_USAGE, E_NET, E_INTEGRITY, E_FILE, E_FORMAT; the signal's reason
 */
export async function pull(name: string, options: PullOptions = {}): Promise<Pulled> {
  checkOptions("pull", options, ["signal", "patience", "onProgress"]);
  checkSignal(options.signal);
  checkFunction("onProgress", options.onProgress);
  const settings = settingsOf();
  const reference = typeof name === "string" ? parseReference(name, settings.endpoint) : undefined;
  if (!reference) usage(`${show(name)} is no name of a model: expected stories15M, ORG/REPO, ORG/REPO/FILE or a URL`);
  if (reference.kind === "url") webUrl(reference.url);
  const { signal, patience } = options;
  const here = await pulledBefore(reference, settings, signal);
  if (here) return here;
  if (settings.offline) throw offlineError(`${reference.kind === "url" ? shown(name) : name} is not here`);
  const client = await httpClient({ secret: tokenOf(), secretFor: settings.endpoint, signal, patience });
  try {
    if (reference.kind === "url") return await pullUrl(client, reference.url, options);
    return await pullRepository(client, reference, settings, options);
  } finally {
    client.close();
  }
}

async function pullUrl({ get }: Client, url: string, options: PullOptions): Promise<Pulled> {
  const file = decoded(new URL(url).pathname.split("/").at(-1) ?? "");
  if (!isSafePath(file)) usage(`${shown(url)} does not end with a name that a file can have`);
  const path = resolve(file);
  const onBytes = (done: number, total: number, downloaded: number) =>
    options.onProgress?.({ name: file, done, total, downloaded });
  const { bytes, sha256, downloadedBytes } = await download(get, { url, path, name: file }, { ...options, onBytes });
  return { name: file, path, files: [{ path, bytes, sha256 }], downloadedBytes };
}

async function pullRepository(
  { get }: Client,
  reference: Exclude<Reference, { kind: "url" }>,
  settings: Settings,
  options: PullOptions,
): Promise<Pulled> {
  const read = (id: string, revision: string) => readRepository(get, settings.endpoint, id, revision, options);
  const { repository, wanted, model } =
    reference.kind === "listed"
      ? await listedFiles(reference.listed, read)
      : await repositoryFiles(reference.repository, reference.revision, reference.file, read);

  const cache = new CachedRepository(settings.cache, repository.id);
  const missing = wanted.filter(({ file }) => !isThere(cache.blob(file.blob), file.bytes));
  const sizeOf = (files: readonly Wanted[]) => files.reduce((sum, { file }) => sum + file.bytes, 0);
  const kept = missing.reduce((sum, { file }) => sum + sizeAt(`${cache.blob(file.blob)}.part`), 0);
  if (missing.length > 0) checkRoom(cache.blob(""), sizeOf(missing) - kept, reference.name);

  const total = sizeOf(wanted);
  let done = sizeOf(wanted) - sizeOf(missing);
  let downloadedBytes = 0;
  const files: Pulled["files"] = [];
  for (const one of wanted) {
    const { file, from, as = file.path } = one;
    const blob = cache.blob(file.blob);
    let sha256 = file.blob;
    if (missing.includes(one)) {
      const before = downloadedBytes;
      const onBytes = (here: number, _: number, came: number) =>
        options.onProgress?.({ name: reference.name, done: done + here, total, downloaded: before + came });
      const job = { url: fileUrl(settings.endpoint, from, file.path), path: blob, name: as };
      const got = await download(get, { ...job, bytes: file.bytes, digest: file.blob }, { ...options, onBytes });
      downloadedBytes += got.downloadedBytes;
      done += file.bytes;
      sha256 = got.sha256;
    } else if (sha256.length !== SHA256_DIGITS) sha256 = await hashFile(blob, options.signal);
    files.push({ path: cache.link(repository.commit, as, file.blob), bytes: file.bytes, sha256 });
  }
  cache.setRevision(repository.revision, repository.commit);
  const path = model === undefined ? cache.snapshot(repository.commit) : join(cache.snapshot(repository.commit), model);
  return { name: reference.name, path, files, downloadedBytes };
}

const SHA256_DIGITS = 64;

type Read = (id: string, revision: string) => Promise<Repository>;

interface Plan {
  repository: Repository;
  wanted: Wanted[];
  model: string | undefined;
}

async function repositoryFiles(id: string, revision: string, named: string | undefined, read: Read): Promise<Plan> {
  const repository = await read(id, revision);
  const { files, model } = choose(repository, named);
  return { repository, wanted: files.map((file) => ({ from: repository, file })), model: model?.path };
}

async function listedFiles(listed: ListedModel, read: Read): Promise<Plan> {
  const { model, tokenizer } = listed;
  const repository = await read(model.repository, model.revision);
  const isElsewhere = tokenizer.repository !== model.repository;
  const from = isElsewhere ? await read(tokenizer.repository, tokenizer.revision) : repository;
  const wanted: Wanted[] = [
    { from, file: knownFile(from, tokenizer), as: tokenizerPath(listed) },
    { from: repository, file: knownFile(repository, model) },
  ];
  return { repository, wanted, model: model.file };
}

/** @throws Llama2Error E_INTEGRITY if the server's file differs from the known one */
function knownFile({ files, id }: Repository, { file, bytes, sha256 }: KnownFile): RemoteFile {
  const found = files.find(({ path }) => path === file);
  if (found?.bytes === bytes && found.blob === sha256) return found;
  const what = found ? `${found.bytes} bytes with the digest ${found.blob}` : "nothing of that name";
  throw new Llama2Error(
    "E_INTEGRITY",
    `${id}/${file} should have ${bytes} bytes with the sha256 ${sha256}, and is ${what}`,
  );
}

const isThere = (path: string, bytes: number) => existsSync(path) && sizeAt(path) === bytes;

/** The size of a file in bytes; 0 if there is none. */
function sizeAt(path: string): number {
  try {
    return statSync(path).size;
  } catch {
    return 0;
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
