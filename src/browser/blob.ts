/*
 * Files in a page: all sources become Blobs. A browser may keep a Blob on disk, and a worker gets it without a copy.
 */
import { show, usage } from "../check.ts";
import { Llama2Error } from "../errors.ts";
import { type BytesLike, type Files, shortened } from "../files/bytes.ts";
import { Sha256 } from "../sha256.ts";

export interface NamedBlob {
  name: string; // for messages
  blob: Blob;
}

type OnBytes = (received: number, size: number) => void;

/**
 * The bytes of a source from a caller.
 * @param what they are, for messages
 * @param onBytes called with how many bytes of a URL have come, and of how many, if that is known; its error ends the
 *   download
 * @throws Llama2Error E_USAGE, E_FILE if the URL cannot be read; the signal's reason
 */
export async function blobOf(
  what: string,
  source: string | URL | BytesLike,
  signal?: AbortSignal,
  onBytes?: OnBytes,
): Promise<NamedBlob> {
  if (typeof source === "string" || source instanceof URL) return download(what, source, signal, onBytes);
  if (source instanceof Blob) return { name: (source as { name?: string }).name ?? what, blob: source };
  if (source instanceof ArrayBuffer || source instanceof Uint8Array) return { name: what, blob: new Blob([source]) };
  usage(`${what} is ${show(source)}, expected a URL, a Blob or File, an ArrayBuffer or a Uint8Array`);
}

async function download(
  what: string,
  source: string | URL,
  signal?: AbortSignal,
  onBytes?: OnBytes,
): Promise<NamedBlob> {
  const url = urlOf(what, source);
  const refuse = (why: string) => new Llama2Error("E_FILE", `cannot read ${what} from ${url.href}: ${why}`);
  let thrown: { reason: unknown } | undefined;
  const tell: OnBytes = (received, size) => {
    try {
      onBytes?.(received, size);
    } catch (reason) {
      thrown = { reason };
      throw reason;
    }
  };
  try {
    const response = await fetch(url, { signal: signal ?? null });
    if (!response.ok) throw refuse(`the server answers ${response.status}`);
    return { name: url.pathname.split("/").pop() || what, blob: await bodyOf(response, onBytes && tell) };
  } catch (error) {
    signal?.throwIfAborted();
    if (thrown) throw thrown.reason;
    throw error instanceof Llama2Error ? error : refuse((error as Error).message);
  }
}

/** The body of a response. If it was compressed, its content-length is not its size, so progress is not reported. */
function bodyOf(response: Response, onBytes: OnBytes | undefined): Promise<Blob> {
  const size = Number(response.headers.get("content-length") ?? 0);
  if (!onBytes || !response.body || size === 0 || response.headers.has("content-encoding")) return response.blob();
  let received = 0;
  const counting = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      received += chunk.length;
      onBytes(received, size);
      controller.enqueue(chunk);
    },
  });
  return new Response(response.body.pipeThrough(counting)).blob();
}

/**
 * A URL from a caller, relative to the page.
 * @throws Llama2Error E_USAGE
 */
export function urlOf(what: string, url: unknown): URL {
  try {
    return new URL(url as string, location.href);
  } catch {
    usage(`the URL of ${what} is ${show(url)}, which is not a URL`);
  }
}

/** A file with these bytes, as a folder of one. */
export function filesOfBlob({ name, blob }: NamedBlob): Files {
  const file = {
    name,
    size: blob.size,
    async read(into: Uint8Array, offset: number) {
      const end = offset + into.length;
      if (end > blob.size) throw shortened(name, blob.size, blob.size);
      into.set(new Uint8Array(await bytesOf({ name, blob: blob.slice(offset, end) })));
    },
    close() {},
  };
  return { name, list: async () => [name], open: async () => file };
}

const HASH_PIECE = 2 ** 22;

/** The sha256 of a Blob, read in pieces. */
export async function hashBlob(blob: Blob): Promise<string> {
  const hash = new Sha256();
  for (let at = 0; at < blob.size; at += HASH_PIECE) {
    hash.update(new Uint8Array(await blob.slice(at, at + HASH_PIECE).arrayBuffer()));
  }
  return hash.hex();
}

/** @throws Llama2Error E_FILE if it cannot be read, for example because the file has changed on disk */
export async function bytesOf({ name, blob }: NamedBlob): Promise<ArrayBuffer> {
  try {
    return await blob.arrayBuffer();
  } catch (error) {
    throw new Llama2Error("E_FILE", `cannot read ${name}: ${(error as Error).message}`);
  }
}
