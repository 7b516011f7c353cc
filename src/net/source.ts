/*
 * A file on a server, read by range requests: only the needed parts are fetched. Needs nothing but JavaScript.
 */
import { Llama2Error } from "../errors.ts";
import type { ByteSource } from "../files/bytes.ts";
import { discard, type Get, NetError, retrying, shown, type Waiting } from "./answers.ts";
import { bodyOf } from "./body.ts";

/** The least that is fetched at once, since many small reads are next to each other. */
const BLOCK = 16 * 1024;
const MAX_BLOCKS = 4;

interface Block {
  offset: number;
  bytes: Uint8Array;
}

/** A file on a server. */
export interface HttpSource extends ByteSource {
  /** How many bytes of it have been fetched so far. */
  readonly fetched: number;
}

/**
 * Open the file at `url`, and fetch its first bytes.
 * @throws Llama2Error E_NET if the server does not answer, or cannot send parts; E_USAGE; the signal's reason
 */
export async function openHttp(get: Get, url: string, waiting: Waiting = {}): Promise<HttpSource> {
  const source = new RangeSource(get, url, waiting);
  await source.open();
  return source;
}

class RangeSource implements HttpSource {
  readonly name: string;
  size = -1;
  fetched = 0;
  private readonly get: Get;
  private readonly waiting: Waiting;
  private url: string; // after redirects, so that they are followed only once
  private etag: string | null = null;
  private readonly blocks: Block[] = []; // the newest first

  constructor(get: Get, url: string, waiting: Waiting) {
    this.get = get;
    this.url = url;
    this.name = shown(url);
    this.waiting = waiting;
  }

  async open(): Promise<void> {
    const first = new Uint8Array(BLOCK);
    const length = await retrying(() => this.fetch(first, 0), this.waiting);
    this.blocks.push({ offset: 0, bytes: first.subarray(0, length) });
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    const end = offset + into.length;
    if (end > this.size) {
      const message = `${this.name} ends at byte ${this.size}, and what is at byte ${offset} should reach to ${end}`;
      throw new Llama2Error("E_FORMAT", message);
    }
    if (into.length > BLOCK) {
      await retrying(() => this.fetch(into, offset), this.waiting);
      return;
    }
    const holds = (block: Block) => block.offset <= offset && end <= block.offset + block.bytes.length;
    let block = this.blocks.find(holds);
    if (!block) {
      const bytes = new Uint8Array(Math.min(BLOCK, this.size - offset));
      await retrying(() => this.fetch(bytes, offset), this.waiting);
      block = { offset, bytes };
      this.blocks.unshift(block);
      this.blocks.length = Math.min(this.blocks.length, MAX_BLOCKS);
    }
    into.set(block.bytes.subarray(offset - block.offset, end - block.offset));
  }

  close(): void {}

  /** Fill `into` with the bytes from `offset` on; the first read may be short. Returns how many bytes there were. */
  private async fetch(into: Uint8Array, offset: number): Promise<number> {
    if (into.length === 0) return 0;
    const headers: Record<string, string> = { range: `bytes=${offset}-${offset + into.length - 1}` };
    const response = await this.get(this.url, headers);
    const length = this.check(response, offset, into.length);
    let done = 0;
    if (length > 0) {
      for await (const chunk of bodyOf(response, this.waiting)) {
        this.fetched += chunk.length;
        if (done + chunk.length > length) throw this.refuse("the server sends more than was asked for");
        into.set(chunk, done);
        done += chunk.length;
      }
    }
    if (done < length) throw new NetError(`cannot read ${this.name}: the connection was cut`, { passing: true });
    return length;
  }

  /** How many bytes the answer has. The first answer also gives the file's size. */
  private check(response: Response, offset: number, asked: number): number {
    const { status, headers } = response;
    const refuse = (why: string) => {
      discard(response);
      return this.refuse(why);
    };
    const range = headers.get("content-range") ?? "";
    if (status === 416) {
      if (this.size !== -1 || !/^bytes \*\/0$/.test(range)) throw refuse("the server says that it has no such part");
      discard(response);
      this.size = 0;
      return 0;
    }
    if (status !== 206) {
      throw refuse("the server cannot send a part of it, only all. Pull it first, and then use the file");
    }
    const [, from, to, of] = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16})$/.exec(range) ?? [];
    const size = Number(of);
    const length = Math.min(asked, size - offset);
    if (!Number.isSafeInteger(size) || Number(from) !== offset || Number(to) !== offset + length - 1) {
      throw refuse(`the server was asked for ${asked} bytes from ${offset} on, and answers ${JSON.stringify(range)}`);
    }
    const etag = headers.get("etag");
    if (this.size !== -1 && (size !== this.size || etag !== this.etag)) throw refuse("it changed while it was read");
    if (this.size === -1) [this.size, this.etag, this.url] = [size, etag, response.url || this.url];
    return length;
  }

  private refuse = (why: string) => new NetError(`cannot read ${this.name}: ${why}`);
}
