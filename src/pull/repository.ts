/*
 * Asks Hugging Face's server about a repository: the commit of a revision, and its files.
 */
import { Llama2Error } from "../errors.ts";
import { type Get, NetError, retrying, shown, type Waiting } from "../net/answers.ts";
import { shortBody } from "../net/body.ts";
import { isSafePath } from "./reference.ts";

/** A file of a repository. Large files are identified by their sha256, small ones by git's sha1. */
export interface RemoteFile {
  path: string;
  bytes: number;
  /** Its sha256, or its sha1 as a git blob. */
  blob: string;
}

export interface Repository {
  id: string; // ORG/REPO
  revision: string;
  commit: string;
  files: RemoteFile[];
}

/** Repositories of models have dozens of files; some datasets have 100,000. */
const MAX_ANSWER = 2 ** 25;
const MAX_FILES = 100_000;

/** @throws Llama2Error E_NET; the signal's reason */
export async function readRepository(
  get: Get,
  endpoint: string,
  id: string,
  revision: string,
  waiting: Waiting,
): Promise<Repository> {
  const url = `${endpoint}/api/models/${id}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const bytes = await retrying(async () => shortBody(await get(url), MAX_ANSWER, waiting), waiting);
  const refuse = (why: string) => new NetError(`${shown(url)} is not as a list of files should be: ${why}`);
  let answer: unknown;
  try {
    answer = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw refuse("it is no JSON");
  }
  const { sha, siblings } = (answer ?? {}) as { sha?: unknown; siblings?: unknown };
  if (typeof sha !== "string" || !/^[0-9a-f]{40}$/.test(sha)) throw refuse("it names no commit");
  if (!Array.isArray(siblings)) throw refuse("it has no files");
  if (siblings.length > MAX_FILES) {
    throw new Llama2Error("E_LIMIT", `${id} has ${siblings.length} files, and ${MAX_FILES} can be handled`);
  }
  const files: RemoteFile[] = [];
  for (const sibling of siblings) {
    const file = fileOf(sibling);
    if (typeof file === "string") throw refuse(file);
    files.push(file);
  }
  return { id, revision, commit: sha, files };
}

/** A file as the server describes it, or what is wrong with it. */
function fileOf(sibling: unknown): RemoteFile | string {
  const { rfilename: path, size: bytes, blobId, lfs } = (sibling ?? {}) as Record<string, unknown>;
  if (typeof path !== "string" || !isSafePath(path)) return `it has a file ${JSON.stringify(path)?.slice(0, 80)}`;
  if (!Number.isSafeInteger(bytes) || (bytes as number) < 0) return `it does not say how long ${path} is`;
  const sha256 = (lfs as { sha256?: unknown } | null | undefined)?.sha256;
  const blob = lfs === null || lfs === undefined ? blobId : sha256;
  if (typeof blob !== "string" || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(blob)) return `it has no digest of ${path}`;
  return { path, bytes: bytes as number, blob };
}

/** The URL of a file. */
export const fileUrl = (endpoint: string, { id, commit }: Pick<Repository, "id" | "commit">, path: string): string =>
  `${endpoint}/${id}/resolve/${commit}/${path.split("/").map(encodeURIComponent).join("/")}`;
