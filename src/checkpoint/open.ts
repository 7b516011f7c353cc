/*
 * Recognises a model by its first bytes or by the names in its folder, and opens it as a source of weights. Nothing is
 * converted beforehand: tensors are converted to what a backend wants while they are loaded.
 */
import type { PreparingTokenizer } from "../encode.ts";
import { Llama2Error } from "../errors.ts";
import { type ByteSource, type Files, readBytes } from "../files/bytes.ts";
import type { WeightSource } from "../llama2/weights.ts";
import type { ForeignModel } from "./foreign.ts";
import { Checkpoint } from "./llama2c/checkpoint.ts";
import type { Tensor } from "./llama2c/tensors.ts";
import type { StoredTensor } from "./stored.ts";

export type Format = "llama2c-v0" | "llama2c-v1" | "llama2c-v2" | ForeignModel["format"];

/** A model that was recognised; its files are open until `close`. */
export interface Recognised {
  readonly format: Format;
  readonly architecture: string;
  /** The tensors in the files, with the names that they have there. */
  readonly tensors: readonly (Tensor | StoredTensor)[];
  /** The files that were opened. */
  readonly files: readonly ByteSource[];
  /** @throws Llama2Error E_FORMAT for a model that is not supported, or not complete; E_LIMIT */
  weights(): WeightSource;
  /** The tokenizer inside the file, if there is one. */
  readonly tokenizer?: () => PreparingTokenizer | undefined;
  close(): void;
}

/** Weights that can be read, until they are closed. */
export interface Opened extends WeightSource {
  readonly format: Format;
  close(): void;
}

/**
 * Open the model in `files`, a single file or a folder, and check its headers, without reading weights. `close` it when
 * done.
 * @throws Llama2Error E_FILE if it cannot be opened, E_FORMAT if it is not a supported model, E_LIMIT
 */
export async function open(files: Files): Promise<Opened> {
  const { format, weights, close } = await recognise(files);
  try {
    const source = weights();
    return {
      config: source.config,
      sharedClassifier: source.sharedClassifier,
      formatOf: (name) => source.formatOf(name),
      pieces: (name, layer, multipleOf) => source.pieces(name, layer, multipleOf),
      format,
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * The same, but a model that is known and not supported causes an error only when its weights are requested.
 * @throws Llama2Error E_FILE, E_FORMAT, E_LIMIT
 */
export async function recognise(files: Files): Promise<Recognised> {
  const opened: ByteSource[] = [];
  const close = () => {
    for (const file of opened) file.close();
  };
  const from = (place: Files) => async (name: string) => {
    const file = await place.open(name);
    opened.push(file);
    return file;
  };
  try {
    return { ...(await openAny(files, from)), files: opened, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** The code for other programs' models is loaded only when it is needed, since loading code delays the first token. */
const foreign = () => import("./foreign.ts");

type Model = Omit<Recognised, "close" | "files">;
/** Opens files, and remembers them. */
type From = (place: Files) => (name: string) => Promise<ByteSource>;

async function openAny(files: Files, from: From): Promise<Model> {
  const names = await files.list();
  const isFolder = names.length !== 1 || /^(config|params)\.json$/.test(names[0]);
  if (files.folder === undefined && isFolder) return openFolder(files, names, from);
  const [name] = names;
  const file = await from(files)(name);
  switch (await kindOf(file)) {
    case "gguf":
      return (await foreign()).openGgufModel(file);
    case "zip":
    case "safetensors":
      return openPart(files, name, file, from);
    default: {
      const weights = await Checkpoint.open(file);
      const format: Format = `llama2c-v${weights.header.version}`;
      return { format, architecture: "llama", tensors: weights.located, weights: () => weights };
    }
  }
}

/** What a file is by its first bytes. */
async function kindOf(file: ByteSource): Promise<"gguf" | "zip" | "safetensors" | undefined> {
  if (file.size < 16) return undefined;
  const head = new DataView((await readBytes(file, 0, 16)).buffer);
  const magic = head.getUint32(0, true);
  if (magic === 0x46554747) return "gguf";
  if (magic === 0x04034b50) return "zip";
  // the length of a header, and the header's first letter. (A checkpoint of version 0 has hidden_dim in the upper half)
  const hasHeader = head.getBigUint64(0, true) <= BigInt(file.size - 8) && head.getUint8(8) === 0x7b;
  return hasHeader ? "safetensors" : undefined;
}

/** A file that is a model only together with the files beside it; or a training checkpoint, which is one by itself. */
async function openPart(files: Files, name: string, file: ByteSource, from: From): Promise<Model> {
  const { openMeta, openHuggingFace, openTraining } = await foreign();
  const beside = (await files.folder?.list()) ?? [];
  if (files.folder && /^consolidated\.\d\d\.pth$/.test(name) && beside.includes("params.json")) {
    return openMeta(files.folder, beside, from(files.folder));
  }
  if (files.folder && beside.includes("config.json") && !name.endsWith(".pt")) {
    return openHuggingFace(files.folder, beside, from(files.folder), name);
  }
  if (!name.endsWith(".safetensors")) return openTraining(file);
  throw new Llama2Error(
    "E_FORMAT",
    `${file.name} has weights, but not the number of heads: a config.json beside it must say that, and it is missing`,
  );
}

async function openFolder(files: Files, names: readonly string[], from: From): Promise<Model> {
  const open = from(files);
  const { openMeta, openHuggingFace } = await foreign();
  if (names.includes("config.json")) return openHuggingFace(files, names, open);
  if (names.includes("params.json")) return openMeta(files, names, open);
  const models = names.filter((name) => /\.(gguf|safetensors|pth?|bin)$/.test(name) && !name.startsWith("tok")).sort();
  if (models.length === 1) {
    return openAny(
      { name: files.name, list: async () => models, open: (name) => files.open(name), folder: files },
      from,
    );
  }
  const found = models.length === 0 ? "no model in it" : `several models in it: ${models.join(", ")}. Name one`;
  throw new Llama2Error("E_FORMAT", `${files.name} is a folder without config.json or params.json, and with ${found}`);
}
