/*
 * Maps each function and struct of run.c to its translation. run.c itself (github.com/karpathy/llama2.c at 350e04f) is not
 * part of this package; the hashes show whether a given file is that version. Runs in browsers.
 */
import { STOPS, type StopId } from "./stops.ts";

/** A function or struct of run.c, with its translation or the reason why it has none. */
export type Counterpart = {
  /** Its name in run.c. */
  c: string;
  /** Its first and last line there, counted from 1. */
  first: number;
  last: number;
  /** The first 16 digits of the sha256 of those lines, with a newline between two. */
  sha256: string;
} & (
  | {
      /** The file of this project, and the name in it. */
      file: string;
      name: string;
    }
  | { why: string }
);

/** In run.c's order. */
export const RUN_C: readonly Counterpart[] = [
  { c: "Config", first: 19, last: 27, sha256: "5e91122aefe3e5cc", file: "src/llama2/transformer.ts", name: "Config" },
  {
    c: "TransformerWeights",
    first: 29,
    last: 48,
    sha256: "50149cb3a9ff1201",
    file: "src/llama2/transformer.ts",
    name: "TransformerWeights",
  },
  {
    c: "RunState",
    first: 50,
    last: 65,
    sha256: "1f69e73d48715bb0",
    file: "src/llama2/transformer.ts",
    name: "RunState",
  },
  {
    c: "Transformer",
    first: 67,
    last: 75,
    sha256: "1488c69586bcfb0a",
    file: "src/llama2/transformer.ts",
    name: "Transformer",
  },
  {
    c: "malloc_run_state",
    first: 77,
    last: 96,
    sha256: "3bd437d7346d8ccb",
    file: "src/llama2/transformer.ts",
    name: "mallocRunState",
  },
  { c: "free_run_state", first: 98, last: 109, sha256: "ce0f0f9a042402e4", why: "memory is collected" },
  {
    c: "memory_map_weights",
    first: 111,
    last: 140,
    sha256: "4d85c1f9010444f3",
    file: "src/llama2/readCheckpoint.ts",
    name: "memoryMapWeights",
  },
  {
    c: "read_checkpoint",
    first: 142,
    last: 162,
    sha256: "d4958dd6423b242f",
    file: "src/llama2/readCheckpoint.ts",
    name: "readCheckpoint",
  },
  {
    c: "build_transformer",
    first: 164,
    last: 169,
    sha256: "e90e56ae5aecd07e",
    file: "src/llama2/readCheckpoint.ts",
    name: "buildTransformer",
  },
  { c: "free_transformer", first: 171, last: 177, sha256: "e531645205aa2395", why: "memory is collected" },
  {
    c: "rmsnorm",
    first: 182,
    last: 195,
    sha256: "e5e256a1b513ca90",
    file: "src/llama2/transformer.ts",
    name: "rmsnorm",
  },
  {
    c: "softmax",
    first: 197,
    last: 215,
    sha256: "4adabdafb017665f",
    file: "src/llama2/transformer.ts",
    name: "softmax",
  },
  { c: "matmul", first: 217, last: 229, sha256: "dd3daa2c8fe02272", file: "src/llama2/transformer.ts", name: "matmul" },
  {
    c: "forward",
    first: 231,
    last: 362,
    sha256: "930db818b150dcf5",
    file: "src/llama2/transformer.ts",
    name: "forward",
  },
  { c: "TokenIndex", first: 367, last: 370, sha256: "7314e2869b906114", why: "a Map finds pieces" },
  {
    c: "Tokenizer",
    first: 372,
    last: 379,
    sha256: "e0c9e6a017c38467",
    file: "src/llama2/tokenizer.ts",
    name: "Tokenizer",
  },
  { c: "compare_tokens", first: 381, last: 383, sha256: "36fe4be507761735", why: "a Map finds pieces" },
  {
    c: "build_tokenizer",
    first: 385,
    last: 409,
    sha256: "4edffc7dd0afe522",
    file: "src/llama2/tokenizer.ts",
    name: "buildTokenizer",
  },
  { c: "free_tokenizer", first: 411, last: 416, sha256: "4a627e2ecdd85730", why: "memory is collected" },
  { c: "decode", first: 418, last: 429, sha256: "39a0c4e6d609cb74", file: "src/llama2/tokenizer.ts", name: "decode" },
  {
    c: "safe_printf",
    first: 431,
    last: 443,
    sha256: "eeee4b041cbda916",
    file: "src/llama2/tokenizer.ts",
    name: "safePrintf",
  },
  {
    c: "str_lookup",
    first: 445,
    last: 450,
    sha256: "91e16f691e1368f2",
    file: "src/llama2/tokenizer.ts",
    name: "strLookup",
  },
  { c: "encode", first: 452, last: 571, sha256: "9e31f778fb28636d", file: "src/llama2/tokenizer.ts", name: "encode" },
  {
    c: "ProbIndex",
    first: 577,
    last: 580,
    sha256: "c395c7d3e929ef02",
    why: "indices are sorted by their probabilities",
  },
  { c: "Sampler", first: 582, last: 588, sha256: "8627b340ce90fd4a", file: "src/llama2/sampler.ts", name: "Sampler" },
  {
    c: "sample_argmax",
    first: 590,
    last: 601,
    sha256: "2b1218c1a3c77770",
    file: "src/llama2/sampler.ts",
    name: "sampleArgmax",
  },
  {
    c: "sample_mult",
    first: 603,
    last: 614,
    sha256: "5797a09befce4dd5",
    file: "src/llama2/sampler.ts",
    name: "sampleMult",
  },
  { c: "compare", first: 616, last: 622, sha256: "c509696e68e17191", why: "indices are sorted by their probabilities" },
  {
    c: "sample_topp",
    first: 624,
    last: 665,
    sha256: "b7186397b167a13e",
    file: "src/llama2/sampler.ts",
    name: "sampleTopp",
  },
  {
    c: "build_sampler",
    first: 667,
    last: 674,
    sha256: "ac1f64e4f74abb11",
    file: "src/llama2/sampler.ts",
    name: "buildSampler",
  },
  { c: "free_sampler", first: 676, last: 678, sha256: "cbac687867f8487c", why: "memory is collected" },
  {
    c: "random_u32",
    first: 680,
    last: 686,
    sha256: "1d4533f60c55c843",
    file: "src/llama2/sampler.ts",
    name: "randomU32",
  },
  {
    c: "random_f32",
    first: 687,
    last: 689,
    sha256: "74c8875b468f457f",
    file: "src/llama2/sampler.ts",
    name: "randomF32",
  },
  { c: "sample", first: 691, last: 714, sha256: "59c8552ab9d28c5c", file: "src/llama2/sampler.ts", name: "sample" },
  { c: "time_in_ms", first: 719, last: 724, sha256: "4d488b03f51a3d2e", why: "performance.now" },
  {
    c: "generate",
    first: 729,
    last: 783,
    sha256: "3beed46e02c34a9d",
    file: "src/llama2/generate.ts",
    name: "generate",
  },
  { c: "read_stdin", first: 785, last: 794, sha256: "5f84882426ba1889", file: "examples/run.ts", name: "readStdin" },
  { c: "chat", first: 802, last: 884, sha256: "2c03bc4766cc4828", file: "src/llama2/chat.ts", name: "chat" },
  { c: "error_usage", first: 891, last: 904, sha256: "9ee7b3676c0faa91", file: "examples/run.ts", name: "errorUsage" },
  { c: "main", first: 906, last: 972, sha256: "4d8a6b6a34b5a702", file: "examples/run.ts", name: "" },
];

/** For the line of run.c that a stop names (see stops.ts): the first 16 digits of its sha256. */
const LINE_SHA256: Record<StopId, string> = {
  embed: "624120c09f83ebd0",
  norm1: "fb81438278a8390b",
  q: "70529d39e3bc2934",
  k: "52779cfe833da559",
  v: "409e801067a75adf",
  rope: "d1f72283ff79e4cd",
  scores: "632c5a31ed9d4c0b",
  probs: "5a2a72efafe6167b",
  mix: "6e4ed755e379be02",
  proj: "35a7c9620ae28a53",
  res1: "46a04d474d67d064",
  norm2: "75a8def0e06f1937",
  gate: "0fec21ee9d3810c7",
  up: "9d25d8ceae2cbed8",
  act: "81571e7a8c90008b",
  down: "1ec593555e9a6671",
  res2: "9ca7df01ac1f47e0",
  normOut: "830e832035f0612d",
  logits: "8391d7a05e8ebd0e",
};

/** The parts of a run.c that must be hashed to check it: each text, with the expected digits. */
export function partsOf(runC: string): { what: string; text: string; sha256: string }[] {
  const lines = runC.replaceAll("\r\n", "\n").split("\n");
  const text = (first: number, last: number) => lines.slice(first - 1, last).join("\n");
  return [
    ...RUN_C.map(({ c, first, last, sha256 }) => ({ what: c, text: text(first, last), sha256 })),
    ...STOPS.map(({ id, runc }) => ({ what: `line ${runc}`, text: text(runc, runc), sha256: LINE_SHA256[id] })),
  ];
}
