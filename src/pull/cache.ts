/*
 * The cache that Hugging Face's tools share. A repository in it:
 *
 *     models--ORG--REPO/
 *       blobs/DIGEST             the bytes
 *       snapshots/COMMIT/FILE    a link to them
 *       refs/REVISION            which commit it is
 */
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { writing } from "../files/partFile.ts";

/** One repository in the cache. */
export class CachedRepository {
  readonly id: string; // ORG/REPO
  private readonly folder: string;

  constructor(cache: string, id: string) {
    this.id = id;
    this.folder = join(cache, `models--${id.replace("/", "--")}`);
  }

  /** The path of the bytes with this digest. */
  blob(digest: string): string {
    return join(this.folder, "blobs", digest);
  }

  snapshot(commit: string): string {
    return join(this.folder, "snapshots", commit);
  }

  /** The folder of a revision or commit, if any of its files are here. */
  find(revision: string): string | undefined {
    const commit = this.commitOf(revision) ?? (revision === "main" ? this.onlyCommit() : undefined) ?? revision;
    return existsSync(this.snapshot(commit)) ? this.snapshot(commit) : undefined;
  }

  /** The revisions that have been fetched. Those in a subfolder, such as pull requests, are left out. */
  revisions(): string[] {
    const named = namesIn(join(this.folder, "refs")).filter((name) => this.commitOf(name) !== undefined);
    return named.length === 0 && this.onlyCommit() !== undefined ? ["main"] : named;
  }

  /** The commit that is here, if there is only one: not every tool records which revision it fetched. */
  private onlyCommit(): string | undefined {
    const commits = namesIn(join(this.folder, "snapshots"));
    return commits.length === 1 ? commits[0] : undefined;
  }

  /**
   * Make `path` in a commit a link to the bytes with this digest.
   * @returns the path of the file
   * @throws Llama2Error E_FILE
   */
  link(commit: string, path: string, digest: string): string {
    const place = join(this.snapshot(commit), path);
    const blob = this.blob(digest);
    writing(place, () => {
      makeFolder(dirname(place));
      if (isSame(place, blob)) return;
      const fresh = `${place}.${process.pid}.part`;
      rmSync(fresh, { force: true });
      try {
        symlinkSync(relative(dirname(place), blob), fresh);
      } catch {
        copyFileSync(blob, fresh); // links may need a permission, as on Windows
      }
      renameSync(fresh, place);
    });
    return place;
  }

  /** @throws Llama2Error E_FILE */
  setRevision(revision: string, commit: string): void {
    if (revision === commit || this.commitOf(revision) === commit) return;
    const place = join(this.folder, "refs", revision);
    writing(place, () => {
      makeFolder(dirname(place));
      writeFileSync(`${place}.${process.pid}.part`, commit);
      renameSync(`${place}.${process.pid}.part`, place);
    });
  }

  private commitOf(revision: string): string | undefined {
    try {
      const commit = readFileSync(join(this.folder, "refs", revision), "utf8").trim();
      return /^[0-9a-f]{40}$/.test(commit) ? commit : undefined;
    } catch {
      return undefined;
    }
  }
}

/** All repositories of models in the cache. */
export function cachedRepositories(cache: string): CachedRepository[] {
  const ids = namesIn(cache).map((name) => /^models--([^/]+?)--([^/]+)$/.exec(name));
  return ids.filter((id) => id !== null).map(([, org, repo]) => new CachedRepository(cache, `${org}/${repo}`));
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

/** Whether `place` has the bytes of the blob already, by a link or as a copy of that length. */
function isSame(place: string, blob: string): boolean {
  const stat = statSync(place, { throwIfNoEntry: false });
  if (!stat) return false;
  const { ino, size } = statSync(blob);
  return stat.ino === ino || (!lstatSync(place).isSymbolicLink() && stat.size === size);
}

/** Make a folder and its parents. (Node's recursive mkdir does not say why it fails on a read-only disk.) */
export function makeFolder(path: string): void {
  if (existsSync(path)) return;
  makeFolder(dirname(path));
  try {
    mkdirSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error; // another process has made it
  }
}
