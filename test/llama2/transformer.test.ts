import { describe, expect, it } from "vitest";
import { loadPanels } from "../../src/backend/ts/panels.ts";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { forward } from "../../src/llama2/transformer.ts";
import { loadRows, loadTransformer } from "../../src/llama2/weights.ts";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.ts";
import { FULL, withoutLarge } from "../helpers/full.ts";
import {
  type ForcedLogits,
  forcedTokens,
  golden,
  hasShared,
  logitsSha256,
  needsShared,
  ROOT,
  sharedFile,
  sharedGolden,
} from "../helpers/golden.ts";

interface SeededCase extends ForcedLogits {
  shape: string;
  seed: number;
  untied: boolean;
}

const seeded = golden<{ cases: SeededCase[] }>("forced-logits.json").cases;
const layouts = { "plain rows (the reference)": loadRows, "panels of eight rows (the ts backend)": loadPanels };

describe.each(Object.entries(layouts))("logits are run.c's, bit for bit, with %s", (_, layout) => {
  const transformerOf = async (path: string) => loadTransformer(await openFile(path), layout);

  it.each(layout === loadRows ? seeded : withoutLarge(seeded))(
    "shape $shape, seed $seed, untied: $untied",
    async ({ shape, seed, untied, ...expected }) => {
      const transformer = await transformerOf(checkpointFile(SHAPES[shape], { seed, untied }));
      expect(logitsSha256(transformer, forcedTokens(expected))).toBe(expected.sha256);
    },
  );

  it.runIf(FULL)("the bundled model", async () => {
    const { forced } = golden<{ forced: ForcedLogits }>("bundled-model.json");
    const transformer = await transformerOf(`${ROOT}/models/stories2M.bin`);
    expect(logitsSha256(transformer, forcedTokens(forced))).toBe(forced.sha256);
  });

  it.skipIf(!hasShared)(`stories260K${needsShared}`, async () => {
    const { stories260K } = sharedGolden<{ stories260K: ForcedLogits }>("forced-logits.json");
    const transformer = await transformerOf(sharedFile("models/stories260K.bin"));
    expect(logitsSha256(transformer, forcedTokens(stories260K))).toBe(stories260K.sha256);
  });
});

it("skipping the classifier does not change later logits", async () => {
  const source = await openFile(checkpointFile(SHAPES.gqa));
  const [all, last] = [await loadTransformer(source), await loadTransformer(source)];
  for (const [pos, token] of [1, 5, 7].entries()) {
    forward(all, token, pos);
    forward(last, token, pos, pos === 2);
  }
  expect(last.state.logits).toEqual(all.state.logits);
});
