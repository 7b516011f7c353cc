/*
 * Hashes files on disk.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { Llama2Error } from "../errors.ts";
import { whyNotRead } from "./reasons.ts";

/**
 * The sha256 of the file at `path`, in lower-case hex.
 * @throws Llama2Error E_FILE; the signal's reason
 */
export async function hashFile(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) {
      signal?.throwIfAborted();
      hash.update(chunk);
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw new Llama2Error("E_FILE", `cannot read ${path}: ${whyNotRead(error as NodeJS.ErrnoException)}`);
  }
  return hash.digest("hex");
}
