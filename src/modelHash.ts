/*
 * Identifies a model by the sha256 of its files, in Node.
 */
import { basename } from "node:path";
import { recognise } from "./checkpoint/open.ts";
import type { FoundTokenizer } from "./checkpoint/tokenizer/read.ts";
import { filesAt } from "./files/disk.ts";
import { hashFile } from "./files/hashFile.ts";
import type { Hashes } from "./receipt.ts";
import { modelHash } from "./sha256.ts";

/**
 * The hashes of the model at `path` and of its tokenizer, as receipts have them.
 * @throws Llama2Error E_FILE, E_FORMAT; the signal's reason
 */
export async function hashModel(path: string, tokenizer?: FoundTokenizer, signal?: AbortSignal): Promise<Hashes> {
  const recognised = await recognise(filesAt(path));
  recognised.close();
  const files: [name: string, sha256: string][] = [];
  for (const { name } of recognised.files) files.push([basename(name), await hashFile(name, signal)]);
  const model = modelHash(files);
  if (!tokenizer) return { model };
  return { model, tokenizer: tokenizer.kind === "gguf" ? model : await hashFile(tokenizer.path, signal) };
}
