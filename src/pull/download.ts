/*
 * Downloads one file to disk: complete and verified, or not at all.
 */
import { readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { Llama2Error } from "../errors.ts";
import { bytesText } from "../files/bytes.ts";
import { writing } from "../files/partFile.ts";
import { discard, type Get, NetError, retrying, shown, type Waiting } from "../net/answers.ts";
import { bodyOf } from "../net/body.ts";
import { makeFolder } from "./cache.ts";
import { FetchedFile } from "./fetchedFile.ts";
import { takeLock } from "./lock.ts";

/** A file to fetch. */
export interface Download {
  url: string;
  /** Its final path. In the cache that is named by its digest; elsewhere it may replace an older file. */
  path: string;
  /** For messages and progress. */
  name: string;
  /** What is known about it in advance. */
  bytes?: number;
  digest?: string;
}

export interface Downloaded {
  bytes: number;
  sha256: string;
  /** How many bytes were fetched by this call. */
  downloadedBytes: number;
}

export interface DownloadOptions extends Waiting {
  /** Called with the bytes on disk, the file's size, and the bytes fetched by this call. */
  onBytes?: (done: number, total: number, downloaded: number) => void;
}

/**
 * Fetch a file. An interrupted download is resumed if it is still the same file.
 * @throws Llama2Error E_NET, E_INTEGRITY, E_FILE; the signal's reason. The bytes so far are kept
 */
export async function download(get: Get, job: Download, options: DownloadOptions): Promise<Downloaded> {
  writing(job.path, () => makeFolder(dirname(job.path)));
  const lock = takeLock(`${job.path}.lock`, job.name);
  let part: FetchedFile | undefined;
  try {
    part = await FetchedFile.open(job.path, job.bytes, options.signal);
    return await new Transfer(get, job, part, options).run();
  } finally {
    part?.close();
    lock.release();
  }
}

/**
 * @throws Llama2Error E_FILE if the disk of `folder` has no room for `bytes` bytes
 */
export function checkRoom(folder: string, bytes: number, what: string): void {
  const { bavail, bsize } = writing(folder, () => {
    makeFolder(folder);
    return statfsSync(folder);
  });
  const free = bavail * bsize;
  if (bytes <= free) return;
  throw new Llama2Error(
    "E_FILE",
    `${what} takes ${bytesText(bytes)}, and the disk of ${folder} has ${bytesText(free)}`,
  );
}

/** How often a file may be restarted from its first byte because the bytes so far are useless. */
const MAX_RESTARTS = 3;

class Transfer {
  private readonly get: Get;
  private readonly job: Download;
  private readonly part: FetchedFile;
  private readonly options: DownloadOptions;
  private readonly etagPath: string;
  private total: number | undefined;
  private etag: string | undefined; // of the bytes so far, if it is a strong one
  private resumed: boolean; // whether there are bytes from an earlier process
  private downloaded = 0;
  private sha256 = "";
  private farthest = 0;
  private restarts = 0;

  constructor(get: Get, job: Download, part: FetchedFile, options: DownloadOptions) {
    this.get = get;
    this.job = job;
    this.part = part;
    this.options = options;
    this.total = job.bytes;
    this.etagPath = `${part.partPath}.etag`;
    // without a digest to check at the end, earlier bytes can be used only if their ETag is known
    if (job.digest === undefined && part.size > 0) {
      this.etag = readText(this.etagPath);
      if (this.etag === undefined) part.restart(job.bytes);
    }
    this.resumed = part.size > 0;
  }

  async run(): Promise<Downloaded> {
    for (;;) {
      while (this.total === undefined || this.part.size < this.total) {
        await retrying(
          () => this.fetchRest(),
          this.options,
          () => this.farthest,
        );
      }
      const wrong = this.mistake();
      if (wrong === undefined) break;
      if (!this.resumed) {
        this.part.discard();
        throw new Llama2Error("E_INTEGRITY", `${wrong}. It was deleted`);
      }
      this.restart(); // the earlier bytes may have been wrong
    }
    this.part.finish();
    rmSync(this.etagPath, { force: true });
    return { bytes: this.part.size, sha256: this.sha256, downloadedBytes: this.downloaded };
  }

  /** What is wrong with the complete file; undefined if nothing is. */
  private mistake(): string | undefined {
    const { digest, name } = this.job;
    const { sha256, git } = this.part.digests();
    this.sha256 = sha256;
    const found = digest?.length === 40 ? git : sha256;
    return digest === undefined || found === digest
      ? undefined
      : `what came for ${name} has the digest ${found}, expected ${digest}`;
  }

  /** Request the missing bytes, and write them. */
  private async fetchRest(): Promise<void> {
    const { part, job } = this;
    if (part.size > 0 && job.digest === undefined && this.etag === undefined) this.restart();
    const headers: Record<string, string> = {};
    if (part.size > 0) headers.range = `bytes=${part.size}-`;
    if (part.size > 0 && this.etag !== undefined) headers["if-range"] = this.etag;
    const response = await this.get(job.url, headers);
    let total: number | undefined;
    try {
      total = this.begin(response);
    } catch (error) {
      discard(response);
      throw error;
    }
    if (total === undefined) return discard(response);
    for await (const chunk of bodyOf(response, this.options)) {
      if (part.size + chunk.length > total) throw this.refuse(`it sends more than the ${bytesText(total)} it has`);
      part.append(chunk);
      this.downloaded += chunk.length;
      this.farthest = Math.max(this.farthest, part.size);
      this.options.onBytes?.(part.size, total, this.downloaded);
    }
    if (part.size < total) {
      const message = `${shown(job.url)}: the connection was cut after ${bytesText(part.size)} of ${bytesText(total)}`;
      throw new NetError(message, { passing: true });
    }
  }

  /** Check the headers of a response. Returns the file's length; undefined: restart from the first byte. */
  private begin(response: Response): number | undefined {
    const { part, job } = this;
    const { status, headers } = response;
    if (status === 416) {
      if (part.size === 0) throw this.refuse("it has no bytes");
      this.restart();
      return undefined;
    }
    if (/^text\/html\b/.test(headers.get("content-type") ?? "") && !/\.html?$/.test(job.path)) {
      throw this.refuse("it answers with a page for people, not with a file");
    }
    const etag = strongTag(headers);
    if (status === 206 && this.etag !== undefined && etag !== this.etag) {
      this.restart(); // the file has changed
      return undefined;
    }
    const total = status === 206 ? this.rangeOf(headers.get("content-range")) : lengthOf(headers, job.bytes);
    if (total === undefined) throw this.refuse("it does not say how long the file is");
    if (job.bytes !== undefined && total !== job.bytes) {
      throw new Llama2Error(
        "E_INTEGRITY",
        `${shown(job.url)} has ${bytesText(total)}, and ${job.name} should have ${bytesText(job.bytes)}`,
      );
    }
    if (status === 200 && part.size > 0) this.restart();
    if (this.total === undefined) checkRoom(dirname(job.path), total - part.size, job.name);
    this.total = total;
    this.remember(etag);
    return total;
  }

  /** The file's length from a Content-Range, which must be the requested range. */
  private rangeOf(range: string | null): number {
    const [, from, to, of] = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(range ?? "") ?? [];
    const total = Number(of);
    const isRest = Number(from) === this.part.size && Number(to) === total - 1;
    if (isRest && (this.total === undefined || this.total === total)) return total;
    throw this.refuse(`it was asked for the bytes from ${this.part.size} on, and answers ${JSON.stringify(range)}`);
  }

  /** Remember the ETag of these bytes; on disk too, if there is no digest to check them. */
  private remember(etag: string | undefined): void {
    this.etag = etag;
    if (this.job.digest !== undefined) return;
    writing(this.etagPath, () => {
      if (this.etag === undefined) rmSync(this.etagPath, { force: true });
      else writeFileSync(this.etagPath, this.etag);
    });
  }

  private restart(): void {
    if (++this.restarts > MAX_RESTARTS) throw this.refuse("it had to be started over too often");
    this.part.restart(this.job.bytes);
    if (this.job.bytes === undefined) this.total = undefined;
    this.etag = undefined;
    this.resumed = false;
  }

  private refuse(why: string): NetError {
    return new NetError(`cannot fetch ${this.job.name} from ${shown(this.job.url)}: ${why}`);
  }
}

/** A strong ETag, which identifies exact bytes. (A weak one may stand for several similar files.) */
function strongTag(headers: Headers): string | undefined {
  const etag = headers.get("etag") ?? "";
  return /^"[\x21\x23-\x7e]*"$/.test(etag) ? etag : undefined;
}

/** The length of a whole file. */
function lengthOf(headers: Headers, known: number | undefined): number | undefined {
  const text = headers.get("content-length") ?? "";
  return /^\d{1,15}$/.test(text) ? Number(text) : known;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
