/*
 * What a model is, from its headers alone.
 */
import { basename } from "node:path";
import { type Format, type Recognised, recognise } from "./checkpoint/open.ts";
import { findTokenizer } from "./checkpoint/tokenizer/find.ts";
import { type ErrorCode, Llama2Error } from "./errors.ts";
import { filesAt } from "./files/disk.ts";
import { pathOf } from "./files/path.ts";
import type { Config } from "./llama2/transformer.ts";
import { shapesOf, type TensorName, tensorsOf, type WeightSource } from "./llama2/weights.ts";

/** A tensor as it lies in a file. Of llama2.c's files, which have all layers of a kind together, all layers. */
export interface InspectedTensor {
  name: string;
  dtype: string;
  shape: readonly number[];
  /** Where it begins in its file, and its bytes. */
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
  /** How many there are. */
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
  tensorList: InspectedTensor[];
}

/**
 * Say what the model at `modelPath`, a file or a folder, is. Its weights are not read.
 * @throws Llama2Error E_FILE, E_FORMAT if it is not recognised or its headers contradict each other
 */
export async function inspect(modelPath: string | URL): Promise<Inspection> {
  const path = pathOf("the model", modelPath);
  const model = await recognise(filesAt(path));
  try {
    const refused: Inspection["refused"] = [];
    const weights = attempt(() => model.weights(), refused);
    const tensorList = tensorsIn(model, weights);
    const dtypes: Record<string, number> = {};
    for (const { dtype } of tensorList) dtypes[dtype] = (dtypes[dtype] ?? 0) + 1;
    const counted = weights ? tensorsOf(weights) : undefined;
    return {
      name: basename(path).replace(/\.(bin|gguf|safetensors|pth?)$/, ""),
      format: model.format,
      architecture: model.architecture,
      config: weights?.config,
      parameters: counted
        ? counted.reduce((sum, { layers, d, n }) => sum + layers * d * n, 0)
        : tensorList.reduce((sum, { shape }) => sum + countOf(shape), 0),
      tensors: tensorList.length,
      dtypes,
      tokenizer: weights ? await tokenizerOf(path, weights.config.vocabSize, refused) : null,
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
  path: string,
  vocabSize: number,
  refused: Inspection["refused"],
): Promise<Inspection["tokenizer"]> {
  try {
    const found = await findTokenizer(path, vocabSize);
    return { kind: found.kind, path: found.path, vocabSize: found.pieces };
  } catch (error) {
    note(error, refused);
    return null;
  }
}

/** The tensors in the files' own names, types and places. */
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
