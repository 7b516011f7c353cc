/*
 * Reads responses, with limits on their length and duration.
 */
import { NetError, PATIENCE, shown, unreachable, type Waiting } from "./answers.ts";

/**
 * The bytes of an answer, piece by piece.
 * @throws NetError if the server stops, or sends next to nothing
 */
export async function* bodyOf(
  response: Response,
  { signal, patience = PATIENCE }: Waiting,
): AsyncGenerator<Uint8Array, void> {
  const reader = response.body?.getReader();
  let since = performance.now();
  let bytes = 0;
  try {
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true };
      if (done || value === undefined) return;
      yield value;
      bytes += value.length;
      const now = performance.now();
      if (now - since < patience.slowMs) continue;
      if (bytes < patience.slowBytes) throw slow(response);
      [since, bytes] = [now, 0];
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof NetError ? error : unreachable(response.url, error);
  } finally {
    reader?.cancel().catch(() => {});
  }
}

const slow = ({ url }: Response) => new NetError(`${shown(url)}: the server sends next to nothing`, { passing: true });

/**
 * All bytes of an answer that should be short.
 * @throws NetError if it is longer than `most`
 */
export async function shortBody(response: Response, most: number, options: Waiting): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of bodyOf(response, options)) {
    length += chunk.length;
    if (length > most) throw new NetError(`${shown(response.url)}: the answer is longer than ${most} bytes`);
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
