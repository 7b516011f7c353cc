/*
 * Loads a model in a page, in a worker.
 */
import { ChatTemplate } from "../chatTemplate.ts";
import { usage } from "../check.ts";
import { findChatTemplate } from "../checkpoint/tokenizer/chatTemplate.ts";
import {
  checkTokenizerSize,
  type FoundTokenizer,
  fitted,
  parseAnyTokenizer,
  tokenizerInside,
} from "../checkpoint/tokenizer/read.ts";
import { Llama2Error } from "../errors.ts";
import type { BytesLike } from "../files/bytes.ts";
import { guessOwner } from "../guessOwner.ts";
import { type Choices, checkLoadOptions, LOAD_OPTIONS, type LoadOptions } from "../loadOptions.ts";
import { Model } from "../model.ts";
import type { Hashes } from "../receipt.ts";
import { Client } from "../run/client.ts";
import { checkGuessSize, parseGuesses } from "../run/guessFile.ts";
import { blobOf, bytesOf, filesOfBlob, hashBlob, type NamedBlob, urlOf } from "./blob.ts";
import { startWorker } from "./startWorker.ts";

const CHOICES: Choices = {
  options: LOAD_OPTIONS,
  backends: ["wasm", "ts"],
  precisions: ["fp32", "int8"],
};

/**
 * Load a model, in a worker.
 * @param source its URL, relative to the page; a Blob or File; or its bytes
 * @throws Llama2Error E_USAGE, E_FILE, E_FORMAT, E_LIMIT, E_DEVICE_UNAVAILABLE; the signal's reason
 */
export async function loadModel(source: string | URL | BytesLike, options: LoadOptions = {}): Promise<Model> {
  if (source === undefined) usage("there is no model to load: in a browser, none comes with the package");
  const { setup, tokenizer: named, guesses, signal, onProgress, assets } = checkLoadOptions(options, CHOICES);
  const { worker, kernels } = assetsAt(assets);
  signal?.throwIfAborted();
  const start = performance.now();
  let size = 0; // of the model that is fetched, if it is known
  const onBytes = (received: number, of: number) => {
    size = of;
    onProgress?.(received, 2 * size);
  };
  const onRead = (done: number, of: number) => {
    if (size > 0) onProgress?.(size + (size * done) / of, 2 * size);
    else onProgress?.(done, of);
  };
  const [model, tokenizerFile, guessFile] = await Promise.all([
    blobOf("the model", source, signal, onProgress && onBytes),
    named === undefined || named === null ? named : blobOf("the tokenizer", named, signal),
    guesses === undefined || guesses === null ? guesses : blobOf("the guesses", guesses, signal),
  ]);
  let found: FoundTokenizer | undefined;
  const owner = (vocabSize: number) => guessOwner(vocabSize, found, () => hashBlob((tokenizerFile ?? model).blob));
  const onOpened = async (vocabSize: number) => {
    if (tokenizerFile !== null) found = await tokenizerFor(model, tokenizerFile, vocabSize);
    if (!guessFile) return undefined;
    checkGuessSize(guessFile.blob.size, guessFile.name);
    return parseGuesses(new Uint8Array(await bytesOf(guessFile)), guessFile.name, await owner(vocabSize));
  };
  const page = { model: model.blob, kernels: kernels.href };
  const whole = { path: model.name, ...setup, page };
  const { client, info } = await Client.load(startWorker(worker), whole, onOpened, signal, onProgress && onRead);
  const notes = found?.note === undefined ? info.notes : [...info.notes, found.note];
  const hashes = async (): Promise<Hashes> => {
    const hash = await hashBlob(model.blob);
    if (!found) return { model: hash };
    return { model: hash, tokenizer: tokenizerFile ? await hashBlob(tokenizerFile.blob) : hash };
  };
  const chatTemplate = async () => {
    const inside = await findChatTemplate(filesOfBlob(model));
    return inside && ChatTemplate.compile(inside);
  };
  return new Model(
    client,
    { ...info, notes },
    {
      tokenizer: found?.tokenizer,
      chatTemplate,
      hashes,
      guessOwner: () => owner(info.config.vocabSize),
      loadMs: performance.now() - start,
    },
  );
}

/** The URLs of the files beside this module, which bundlers find by their literal form; or in the caller's folder. */
function assetsAt(folder: string | URL | undefined) {
  if (folder === undefined) return { worker: undefined, kernels: new URL("./kernels.wasm", import.meta.url) };
  const base = urlOf("the assets", folder);
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  return { worker: new URL("worker.js", base), kernels: new URL("kernels.wasm", base) };
}

/** @throws Llama2Error E_FORMAT if it does not fit the model, or if no file is named and the model has none inside */
async function tokenizerFor(model: NamedBlob, file: NamedBlob | undefined, vocabSize: number): Promise<FoundTokenizer> {
  if (file) {
    checkTokenizerSize(file.blob.size, file.name);
    return fitted(file.name, await parseAnyTokenizer(new Uint8Array(await bytesOf(file)), file.name), vocabSize);
  }
  const inside = await tokenizerInside(await filesOfBlob(model).open(model.name));
  if (inside) return fitted(model.name, inside, vocabSize);
  const message = `${model.name} has no tokenizer inside. Name its tokenizer.bin, or null if none is needed`;
  throw new Llama2Error("E_FORMAT", message, { option: "tokenizer" });
}
