import { describe, expect, it } from "vitest";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { readTokenizer } from "../../src/checkpoint/tokenizer/find.ts";
import { generate } from "../../src/llama2/generate.ts";
import { buildSampler } from "../../src/llama2/sampler.ts";
import { BOS, decode, EOS, safePrintf } from "../../src/llama2/tokenizer.ts";
import { loadTransformer } from "../../src/llama2/weights.ts";
import { toByteString } from "../../src/text.ts";
import { checkpointFile } from "../helpers/checkpoint.ts";
import { FULL, shortOrLong } from "../helpers/full.ts";
import {
  type GenerateCase,
  golden,
  hasShared,
  logitsSha256,
  needsShared,
  ROOT,
  sharedFile,
  sharedGolden,
} from "../helpers/golden.ts";
import { tokenizerFile, vocabOf } from "../helpers/tokenizer.ts";

/** Tokens, text, generator state and logits of a whole story must be run.c's. */
async function checkStory(modelPath: string, tokenizerPath: string, c: GenerateCase): Promise<void> {
  const transformer = await loadTransformer(await openFile(modelPath));
  const tokenizer = readTokenizer(tokenizerPath);
  const sampler = buildSampler(tokenizer.vocabSize, c.temperature, c.topp, BigInt(c.seed));
  const tokens = [c.prompt_tokens[0]];
  let printed = "";
  generate(transformer, tokenizer, sampler, toByteString(c.prompt), c.steps, (text, token) => {
    printed += text;
    tokens.push(token);
  });
  const pieces = tokens.slice(1).map((token, i) => decode(tokenizer, tokens[i], token));
  expect(tokens).toEqual(c.tokens);
  expect(Buffer.from(pieces.join(""), "latin1").toString()).toBe(c.text);
  expect(printed).toBe(pieces.map(safePrintf).join(""));
  expect(`${sampler.rngState}`).toBe(c.rng_state);
  // sampling has used up the logits: read the same tokens again, which takes as long as the story
  if (FULL || c.steps <= 64) expect(logitsSha256(transformer, tokens.slice(0, c.forwards))).toBe(c.logits_sha256);
}

const title = "$prompt, temperature $temperature, top-p $topp, seed $seed, $steps steps";

/** The reference takes a second for each 40 tokens; the fast backends tell the others under `npm test` as well. */
const shortStories = (cases: GenerateCase[]) =>
  shortOrLong(
    cases.filter(({ steps, temperature }) => steps <= 64 || (temperature === 0 && steps === 256)),
    cases,
  );

describe("the bundled model's stories are run.c's: tokens, text, generator and logits", () => {
  it.each(shortStories(golden<{ cases: GenerateCase[] }>("bundled-model.json").cases))(title, async (c) => {
    await checkStory(`${ROOT}/models/stories2M.bin`, `${ROOT}/models/tok2048.bin`, c);
  });
});

describe.skipIf(!hasShared)(`stories260K's stories are run.c's${needsShared}`, () => {
  const cases = hasShared ? sharedGolden<{ cases: GenerateCase[] }>("generate-stories260K.json").cases : [];
  it.each(shortStories(cases))(title, async (c) => {
    await checkStory(sharedFile("models/stories260K.bin"), sharedFile("models/tok512.bin"), c);
  });
});

it("BOS alone ends a story: an EOS is a token like any other", async () => {
  // at so high a temperature all 300 tokens are equally likely, and with this seed EOS comes before BOS
  const transformer = await loadTransformer(await openFile(checkpointFile([16, 40, 2, 4, 4, 300, 4000])));
  const tokenizer = readTokenizer(tokenizerFile(vocabOf(300)));
  const tokens: number[] = [];
  generate(transformer, tokenizer, buildSampler(300, 1e9, 0, 4n), "", 3000, (_, token) => tokens.push(token));
  expect(tokens).toContain(EOS);
  expect(tokens).not.toContain(BOS);
  expect(tokens.length).toBeLessThan(3000);
});
