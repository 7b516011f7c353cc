/*
 * Loading a model where there are files and workers: in Node.
 */
import { join } from "node:path";
import type { ChatTemplate } from "./chatTemplate.ts";
import { show, usage } from "./check.ts";
import { type FoundTokenizer, findTokenizer, namedTokenizer, PACKAGE_MODELS } from "./checkpoint/tokenizer/find.ts";
import type { BytesLike } from "./files/bytes.ts";
import { filesAt } from "./files/disk.ts";
import { hashFile } from "./files/hashFile.ts";
import { pathOf } from "./files/path.ts";
import { findGuesses, readGuesses } from "./guesses.ts";
import { guessOwner } from "./guessOwner.ts";
import { BACKENDS, type Choices, checkLoadOptions, LOAD_OPTIONS, type LoadOptions, PRECISIONS } from "./loadOptions.ts";
import { Model } from "./model.ts";
import { Client } from "./run/client.ts";
import { startWorker } from "./run/startWorker.ts";

/** The model that comes with the package. */
export const BUNDLED_MODEL: string = join(PACKAGE_MODELS, "stories2M.bin");

const CHOICES: Choices = {
  options: [...LOAD_OPTIONS, "kvPrecision", "device"],
  backends: BACKENDS,
  precisions: PRECISIONS,
};

/**
 * Load a model, in a thread of its own.
 * @param path of its file, or a `file:` URL; in a browser its URL, a Blob or its bytes. Default, but not in a browser: the
 *   small model that comes with the package
 * @throws Llama2Error E_USAGE, E_FILE, E_FORMAT, E_LIMIT, E_DEVICE_UNAVAILABLE, E_DEVICE_OOM, E_DEVICE_LOST; the
 *   signal's reason
 */
export async function loadModel(
  path: string | URL | BytesLike = BUNDLED_MODEL,
  options: LoadOptions = {},
): Promise<Model> {
  if (typeof path === "object" && path !== null && !(path instanceof URL)) {
    usage(`the model's path is ${show(path)}. Options come second: loadModel(undefined, { ... })`);
  }
  const file = pathOf("the model", path);
  const { setup, tokenizer: named, guesses, signal, onProgress } = checkLoadOptions(options, CHOICES);
  const tokenizerFile = typeof named === "string" || named instanceof URL ? pathOf("the tokenizer", named) : named;
  if (tokenizerFile !== undefined && tokenizerFile !== null && typeof tokenizerFile !== "string") {
    usage(`tokenizer is ${show(named)}, expected a path, a file: URL, or null`);
  }
  const guessFile = typeof guesses === "string" || guesses instanceof URL ? pathOf("the guesses", guesses) : guesses;
  if (guessFile !== undefined && guessFile !== null && typeof guessFile !== "string") {
    usage(`guesses is ${show(guesses)}, expected a path, a file: URL, or null`);
  }
  signal?.throwIfAborted();
  const start = performance.now();
  let found: FoundTokenizer | undefined;
  let guessNote: string | undefined;
  const owner = (vocabSize: number) => guessOwner(vocabSize, found, () => hashFile(found?.path ?? "", signal));
  // while the worker reads the weights, read the tokenizer and the guesses
  const onOpened = async (vocabSize: number) => {
    if (typeof tokenizerFile === "string") found = await namedTokenizer(tokenizerFile, vocabSize);
    else if (tokenizerFile === undefined) found = await findTokenizer(file, vocabSize);
    if (typeof guessFile === "string") return readGuesses(guessFile, await owner(vocabSize));
    if (guessFile === null || setup.lookahead === "off") return undefined;
    const beside = await findGuesses(file, () => owner(vocabSize));
    guessNote = beside.note;
    return beside.guesses;
  };
  const { client, info } = await Client.load(startWorker(), { path: file, ...setup }, onOpened, signal, onProgress);
  const notes = [...info.notes, found?.note, guessNote].filter((note) => note !== undefined);
  return new Model(
    client,
    { ...info, notes },
    {
      tokenizer: found?.tokenizer,
      chatTemplate: () => chatTemplateOf(file),
      hashes: async () => (await import("./modelHash.ts")).hashModel(file, found),
      guessOwner: () => owner(info.config.vocabSize),
      loadMs: performance.now() - start,
    },
  );
}

/** @throws Llama2Error E_FORMAT for an invalid template */
async function chatTemplateOf(path: string): Promise<ChatTemplate | undefined> {
  const [{ findChatTemplate }, { ChatTemplate }] = await Promise.all([
    import("./checkpoint/tokenizer/chatTemplate.ts"),
    import("./chatTemplate.ts"),
  ]);
  const found = await findChatTemplate(filesAt(path));
  return found && ChatTemplate.compile(found);
}
