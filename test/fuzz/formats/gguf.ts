/*
 * GGUF files.
 */
import { openGgufModel } from "../../../src/checkpoint/foreign.ts";
import { type GgufEntry, ggufBytes, ggufKeys } from "../../helpers/formats/gguf.ts";
import { seededModel } from "../../helpers/formats/model.ts";
import { encodeNumbers, type TensorToWrite } from "../../helpers/formats/numbers.ts";
import { memoryFile } from "../../helpers/formats/source.ts";
import { damaged, joined } from "../bytes.ts";
import type { Dice } from "../dice.ts";
import type { Target } from "../fuzz.ts";
import { readWeights, useTokenizer } from "./reading.ts";
import { FEW } from "./sizes.ts";

/** TINY with rows of whole blocks of int8. */
const BLOCKS = [32, 32, 1, 2, 1, 6, 8] as const;
const ggufModels = (["F32", "F16", "BF16", "Q8_0"] as const).map((type) =>
  seededModel(BLOCKS, "gguf", type).tensors.map((tensor) => {
    return { ...tensor, encoded: encodeNumbers(tensor.type, tensor.values) };
  }),
);
const TOKENS: GgufEntry[] = [
  ["tokenizer.ggml.model", 8, "llama"],
  ["tokenizer.ggml.tokens", 9, { type: 8, items: ["<unk>", "<s>", "</s>", "\u2581", "a", "\u2581a"] }],
  ["tokenizer.ggml.scores", 9, { type: 6, items: [0, 0, 0, -1, -2, -3] }],
  ["tokenizer.ggml.token_type", 9, { type: 5, items: [2, 3, 3, 1, 1, 1] }],
  ["tokenizer.ggml.bos_token_id", 4, 1],
  ["general.alignment", 4, 32],
];
const KEYS = ggufKeys(BLOCKS, TOKENS);

export const gguf: Target = {
  name: "gguf",
  files: ["checkpoint/gguf", "checkpoint/tokenizer/ggufTokenizer"],
  make(dice) {
    const entries = [...KEYS];
    const some: TensorToWrite[] = dice.pick(ggufModels).slice(0, dice.chance(0.85) ? FEW : undefined);
    for (let changes = dice.below(3); changes > 0; changes--) {
      if (dice.chance(0.6)) changeEntry(entries, dice);
      else changeTensor(some, dice);
    }
    const options = dice.chance(0.05) ? { version: dice.whole() } : {};
    const bytes = ggufBytes(entries, some, options);
    // what precedes the tensors is where the numbers are that matter
    const head = bytes.length - some.reduce((sum, { encoded }) => sum + (encoded?.length ?? 0), 0);
    return { "m.gguf": joined(damaged(bytes.subarray(0, head), dice, 0.3), damaged(bytes.subarray(head), dice, 0.05)) };
  },
  async read({ "m.gguf": bytes }) {
    const model = await openGgufModel(memoryFile(bytes, "m.gguf"));
    const tokenizer = model.tokenizer?.();
    if (tokenizer) useTokenizer(tokenizer);
    await readWeights(model.weights());
  },
};

function changeEntry(entries: GgufEntry[], dice: Dice): void {
  const index = dice.below(entries.length);
  const [key, type, value] = entries[index];
  switch (dice.below(5)) {
    case 0:
      entries.splice(index, 1);
      break;
    case 1:
      entries.push(entries[index]);
      break;
    case 2:
      entries[index] = [dice.pick([dice.text(), ...EXTRA_KEYS]), type, value];
      break;
    case 3: {
      const items = Array.from({ length: dice.below(8) }, () => (dice.chance(0.5) ? dice.text() : dice.number()));
      entries[index] = [
        key,
        9,
        dice.chance(0.5) ? { type: 8, items: items.map(String) } : { type: 6, items: items.map(Number) },
      ];
      break;
    }
    default:
      entries[index] = dice.chance(0.5)
        ? [key, 8, dice.text()]
        : [key, dice.pick([0, 4, 5, 6, 7, 10]), wrapped(dice.number())];
  }
}
const EXTRA_KEYS = [
  ...["split.count", "llama.expert_count", "llama.rope.scaling.type", "llama.rope.scale_linear", "llama.vocab_size"],
  ...["llama.attention.key_length", "tokenizer.ggml.add_space_prefix", "tokenizer.ggml.unknown_token_id"],
];
/** A number as 64 bits hold it. */
const wrapped = (value: number): number => (Number.isSafeInteger(value) && value >= 0 ? value : 1);

function changeTensor(some: TensorToWrite[], dice: Dice): void {
  const index = dice.below(some.length);
  const tensor = some[index];
  switch (dice.below(4)) {
    case 0:
      some.splice(index, 1);
      break;
    case 1:
      some.push(dice.chance(0.5) ? tensor : { ...tensor, name: dice.text() });
      break;
    case 2: {
      const shape = [...tensor.shape];
      shape[dice.below(shape.length)] = Math.max(0, dice.whole());
      some[index] = { ...tensor, shape };
      break;
    }
    default:
      some[index] = { ...tensor, shape: Array.from({ length: dice.below(6) }, () => dice.pick([0, 1, 2, 32, 64])) };
  }
}
