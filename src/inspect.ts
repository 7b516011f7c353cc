/*
 * What a model is, from its headers alone.
 */
import { checkOptions, checkSignal } from "./check.ts";
import { type Format, type Recognised, recognise } from "./checkpoint/open.ts";
import { findTokenizer } from "./checkpoint/tokenizer/find.ts";
import { type FoundTokenizer, tokenizerOfFiles } from "./checkpoint/tokenizer/read.ts";
import { type ErrorCode, Llama2Error } from "./errors.ts";
import type { Files } from "./files/bytes.ts";
import { filesAt } from "./files/disk.ts";
import { modelName } from "./files/modelName.ts";
import { pathOf } from "./files/path.ts";
import type { Config } from "./llama2/transformer.ts";
import { shapesOf, type TensorName, tensorsOf, type WeightSource } from "./llama2/weights.ts";

/** A tensor as it is stored in a file. In llama2.c's files one entry holds all layers of its kind. */
export interface InspectedTensor {
  name: string;
  dtype: string;
  shape: readonly number[];
  /** Where it begins in its file, and how many bytes it has. */
  offset: number;
  bytes: number;
}

export interface Inspection {
  name: string;
  format: Format;
  architecture: string;
  /** Absent where the model is refused. */
  config?: Config;
  parameters: number;
  /** The number of tensors. */
  tensors: number;
  /** How many tensors there are of each type. */
  dtypes: Record<string, number>;
  tokenizer: { kind: "bin" | "sentencepiece" | "json" | "gguf"; path: string; vocabSize: number } | null;
  bytes: number;
  files: { path: string; bytes: number }[];
  /** Whether it can be run here. Whether it fits into the memory is another question. */
  runs: boolean;
  /** What would be refused, and why. */
  refused: { code: ErrorCode; reason: string }[];
  /** For a model on a server: how many bytes of it have been fetched. */
  fetched?: number;
  tensorList: InspectedTensor[];
}

/**
 * Describe the model at `modelPath`: a file, a folder, or the URL of a file or of a Hugging Face repository. Of a URL only
 * the headers and the tokenizer are fetched. Weights are not read.
 * @throws Llama2Error E_FILE, E_NET, E_FORMAT if it is not recognised or its headers contradict each other; the signal's
 *   reason
 */
export async function inspect(
  modelPath: string | URL,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<Inspection> {
  checkOptions("inspect", options, ["signal"]);
  const { signal } = options;
  checkSignal(signal);
  const url = typeof modelPath === "string" || modelPath instanceof URL ? String(modelPath) : "";
  if (/^https?:/i.test(url)) return inspectRemote(url, signal);
  const path = pathOf("the model", modelPath);
  return inspectFiles(filesAt(path), modelName(path), (_, vocabSize) => findTokenizer(path, vocabSize));
}

async function inspectRemote(url: string, signal: AbortSignal | undefined): Promise<Inspection> {
  const { openRemote } = await import("./pull/remote.ts");
  const remote = await openRemote(url, { signal });
  try {
    const found = await inspectFiles(remote.files, modelName(remote.name), (model, vocabSize) =>
      tokenizerOfFiles(remote.files, model.tokenizer?.(), vocabSize),
    );
    return { ...found, fetched: remote.fetched() };
  } finally {
    remote.close();
  }
}

type FindTokenizer = (model: Recognised, vocabSize: number) => Promise<FoundTokenizer | undefined>;

async function inspectFiles(files: Files, name: string, find: FindTokenizer): Promise<Inspection> {
  const model = await recognise(files);
  try {
    const refused: Inspection["refused"] = [];
    const weights = attempt(() => model.weights(), refused);
    const tensorList = tensorsIn(model, weights);
    const dtypes: Record<string, number> = {};
    for (const { dtype } of tensorList) dtypes[dtype] = (dtypes[dtype] ?? 0) + 1;
    const counted = weights ? tensorsOf(weights) : undefined;
    return {
      name,
      format: model.format,
      architecture: model.architecture,
      config: weights?.config,
      parameters: counted
        ? counted.reduce((sum, { layers, d, n }) => sum + layers * d * n, 0)
        : tensorList.reduce((sum, { shape }) => sum + countOf(shape), 0),
      tensors: tensorList.length,
      dtypes,
      tokenizer: weights ? await tokenizerOf(() => find(model, weights.config.vocabSize), refused) : null,
      bytes: model.files.reduce((sum, { size }) => sum + size, 0),
      files: model.files.map(({ name, size }) => ({ path: name, bytes: size })),
      runs: weights !== undefined,
      refused,
      tensorList,
    };
  } finally {
    model.close();
  }
}

const countOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

/** What `action` gives, or undefined if it refuses, which is noted. */
function attempt<T>(action: () => T, refused: Inspection["refused"]): T | undefined {
  try {
    return action();
  } catch (error) {
    note(error, refused);
    return undefined;
  }
}

function note(error: unknown, refused: Inspection["refused"]): void {
  if (!(error instanceof Llama2Error)) throw error;
  refused.push({ code: error.code, reason: error.message });
}

async function tokenizerOf(
  find: () => Promise<FoundTokenizer | undefined>,
  refused: Inspection["refused"],
): Promise<Inspection["tokenizer"]> {
  try {
    const found = await find();
    return found ? { kind: found.kind, path: found.path, vocabSize: found.pieces } : null;
  } catch (error) {
    note(error, refused);
    return null;
  }
}

/** The tensors with the names, types and offsets they have in their files. */
function tensorsIn({ tensors }: Recognised, weights: WeightSource | undefined): InspectedTensor[] {
  return tensors.map((tensor) => {
    if ("type" in tensor) {
      const { name, type, shape, offset, bytes } = tensor;
      return { name, dtype: type, shape, offset, bytes };
    }
    const { name, layers, groupSize, offset, bytes } = tensor;
    const { d, n } = weights ? shapesOf(weights.config)[name as TensorName] : { d: 1, n: tensor.size };
    const shape = [...(layers > 1 ? [layers] : []), ...(d > 1 ? [d] : []), n];
    const dtype = groupSize === 0 ? "F32" : `int8, groups of ${groupSize}`;
    return { name, dtype, shape, offset, bytes: layers * bytes };
  });
}
