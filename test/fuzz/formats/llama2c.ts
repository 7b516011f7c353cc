/*
 * llama2.c's own checkpoints, of its three versions.
 */
import { Checkpoint } from "../../../src/checkpoint/llama2c/checkpoint.ts";
import { formatHeader } from "../../../src/checkpoint/llama2c/header.ts";
import { Llama2Error } from "../../../src/errors.ts";
import { DEFAULTS } from "../../../src/llama2/transformer.ts";
import { sparseSource } from "../../helpers/formats/source.ts";
import { damaged } from "../bytes.ts";
import type { Dice } from "../dice.ts";
import type { Target } from "../fuzz.ts";
import { readWeights } from "./reading.ts";

/** Above this a model that is accepted is not read: it is a hole. */
const MAX_READ = 100_000;

/** The start of a file. After it come zeros, as many as the header asks for, or some more or fewer. */
const targetOf = (version: 0 | 1 | 2): Target => ({
  name: `llama2c-v${version}`,
  files: ["checkpoint/llama2c/header", "checkpoint/llama2c/tensors", "checkpoint/llama2c/checkpoint"],
  make(dice) {
    const header = new Uint8Array(256);
    header.set(formatHeader(randomHeader(version, dice)));
    const view = new DataView(header.buffer);
    for (let changes = dice.below(3); changes > 0; changes--) {
      const at = dice.pick(
        version === 0 ? [0, 4, 8, 12, 16, 20, 24] : [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 37, 64, 68, 72],
      );
      if (at >= 68 || dice.chance(0.1)) view.setFloat32(at, dice.number(), true);
      else view.setInt32(at, dice.whole(), true);
    }
    const head = damaged(version === 0 ? header.subarray(0, 28) : header, dice, 0.1);
    return { "model.bin": head, more: Uint8Array.of(dice.chance(0.8) ? 128 : dice.below(256)) };
  },
  async read({ "model.bin": head, more }) {
    // the size that the header asks for is in the error
    let size = head.length;
    try {
      await Checkpoint.open(sparseSource(head, size, "model.bin"));
    } catch (error) {
      const asked =
        error instanceof Llama2Error && /asks for ([\d,]+) bytes/.exec(error.message)?.[1].replaceAll(",", "");
      if (!asked) throw error;
      size = Math.max(head.length, Math.min(Number(asked), Number.MAX_SAFE_INTEGER)) + more[0] - 128;
    }
    const checkpoint = await Checkpoint.open(sparseSource(head, Math.max(0, size), "model.bin"));
    if (size <= MAX_READ) await readWeights(checkpoint);
    checkpoint.close();
  },
});

function randomHeader(version: 0 | 1 | 2, dice: Dice) {
  const nKvHeads = 1 + dice.below(3);
  const nHeads = nKvHeads * (1 + dice.below(3));
  const groupSize = 2 ** dice.below(4);
  const config = {
    dim: 2 * (1 + dice.below(4)) * nHeads,
    hiddenDim: groupSize * (1 + dice.below(5)),
    nLayers: 1 + dice.below(3),
    nHeads,
    nKvHeads,
    vocabSize: groupSize * (1 + dice.below(9)),
    seqLen: 1 + dice.below(20),
    ...(dice.chance(0.5) ? DEFAULTS : { normEps: 1e-6, ropeTheta: 500 }),
  };
  return { version, config, sharedClassifier: dice.chance(0.5), groupSize: version === 2 ? groupSize : 0 };
}

export const llama2c = [targetOf(0), targetOf(1), targetOf(2)];
