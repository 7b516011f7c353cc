/*
 * What a file is, said by its first bytes, and opened as a source of weights. One file for each format beside this one.
 */
import { Llama2Error } from "../errors.ts";
import type { Files } from "../files/bytes.ts";
import type { Tokenizer } from "../llama2/tokenizer.ts";
import type { WeightSource } from "../llama2/weights.ts";
import { Checkpoint } from "./llama2c/checkpoint.ts";

/** Weights that can be read, until they are closed; and the tokenizer, where it comes with them. */
export interface Opened extends WeightSource {
  readonly tokenizer?: Tokenizer;
  close(): void;
}

/**
 * Open the checkpoint in `files`, and check its header and size: nothing else of it is read. `close` it when done.
 * @throws Llama2Error E_FILE if it cannot be opened, E_FORMAT if it is not a checkpoint
 */
export async function open(files: Files): Promise<Opened> {
  const names = await files.list();
  if (names.length !== 1) throw new Llama2Error("E_FORMAT", `${files.name} is a directory, expected a file`);
  return Checkpoint.open(await files.open(names[0]));
}
