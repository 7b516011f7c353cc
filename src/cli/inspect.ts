/*
 * llama2 inspect: what a model is.
 */
import { type Inspection, inspect as inspectModel } from "../inspect.ts";
import { print } from "./io.ts";
import { withAdvice } from "./model.ts";

export interface InspectFlags {
  tensors?: boolean;
  json?: boolean;
}

/** Print what a model is, here or at a URL: lines `key: value`, or one JSON object. */
export async function inspect(name: string, flags: InspectFlags, signal: AbortSignal): Promise<void> {
  const isUrl = /^https?:\/\//i.test(name);
  const found = await (isUrl
    ? inspectModel(name, { signal })
    : withAdvice(name, signal, (path = name) => inspectModel(path, { signal })));
  if (flags.json) {
    const { tensorList, ...rest } = found;
    await print(`${JSON.stringify(flags.tensors ? found : rest)}\n`);
    return;
  }
  const lines = linesOf(found).map(([key, value]) => `${key}: ${value}\n`);
  const tensors = flags.tensors ? found.tensorList.map(tensorLine) : [];
  await print([...lines, ...tensors].join(""));
}

function linesOf(found: Inspection): [string, string][] {
  const { config: p, tokenizer, files } = found;
  const number = (n: number) => n.toLocaleString("en-US");
  const shape: [string, string][] = p
    ? [
        ["dim", number(p.dim)],
        ["hiddenDim", number(p.hiddenDim)],
        ["layers", number(p.nLayers)],
        ["heads", number(p.nHeads)],
        ["kvHeads", number(p.nKvHeads)],
        ["vocabSize", number(p.vocabSize)],
        ["context", number(p.seqLen)],
        ["normEps", Number(p.normEps.toPrecision(7)).toExponential()],
        ["ropeTheta", Number(p.ropeTheta.toPrecision(7)).toString()],
      ]
    : [];
  const dtypes = Object.entries(found.dtypes).map(([dtype, count]) => `${count} ${dtype}`);
  return [
    ["name", found.name],
    ["format", found.format],
    ["architecture", harmless(found.architecture)],
    ...shape,
    ["parameters", number(found.parameters)],
    ["tensors", `${number(found.tensors)} (${dtypes.join(", ")})`],
    ["tokenizer", tokenizer ? `${tokenizer.kind}, ${number(tokenizer.vocabSize)} tokens, ${tokenizer.path}` : "none"],
    ["bytes", `${number(found.bytes)} in ${files.length === 1 ? "1 file" : `${files.length} files`}`],
    ...(found.fetched === undefined ? [] : [["fetched", `${number(found.fetched)} bytes`] satisfies [string, string]]),
    ["runs", found.runs ? "yes" : "no"],
    ...found.refused.map(({ code, reason }): [string, string] => ["refused", `${reason} (${code})`]),
  ];
}

const tensorLine = ({ name, dtype, shape, offset, bytes }: Inspection["tensorList"][number]): string =>
  `${[harmless(name), dtype, `[${shape.join(", ")}]`, offset, bytes].join("\t")}\n`;

/** Text of a file on one line, without control characters. */
const harmless = (text: string): string => text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, " ");
