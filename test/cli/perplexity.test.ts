import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { readTokenizer } from "../../src/checkpoint/tokenizer/find.ts";
import { encode } from "../../src/llama2/tokenizer.ts";
import { forward } from "../../src/llama2/transformer.ts";
import { loadTransformer } from "../../src/llama2/weights.ts";
import { toByteString } from "../../src/text.ts";
import { llama2 } from "../helpers/cli.ts";
import { FULL } from "../helpers/full.ts";
import { hasShared, needsShared, ROOT, sharedFile, sharedGolden } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

const bundled = join(ROOT, "models", "stories2M.bin");

async function measure(model: string, file: string, ...flags: string[]) {
  const { stdout } = await llama2(["perplexity", model, file, "--json", ...flags]);
  return JSON.parse(stdout.toString());
}

function textFile(text: string): string {
  const path = join(tempDir(), "text.txt");
  writeFileSync(path, text);
  return path;
}

/** Minus the log-probability of a document's tokens, computed on the reference. */
async function nats(document: string): Promise<number> {
  const transformer = await loadTransformer(await openFile(bundled));
  const tokens = encode(readTokenizer(`${ROOT}/models/tok2048.bin`), toByteString(document), true, false);
  let sum = 0;
  for (const [pos, token] of tokens.slice(0, -1).entries()) {
    const logits = Array.from(forward(transformer, token, pos));
    sum += Math.log(logits.reduce((all, logit) => all + Math.exp(logit), 0)) - logits[tokens[pos + 1]];
  }
  return sum;
}

describe("perplexity", () => {
  const [first, second] = ["Once upon a time\nthere was a cat.", "The dog was café 😀."];

  it("scores every token after BOS, document by document", async () => {
    const report = await measure(bundled, textFile(`${first}\n<|end|>\n${second}\n`));
    const characters = [...first].length + [...second].length;
    expect(report).toMatchObject({ documents: 2, documentsCut: 0, characters });
    const total = (await nats(first)) + (await nats(second));
    expect(report.natsPerToken * report.tokensScored).toBeCloseTo(total, 6);
    expect(report.natsPerCharacter).toBeCloseTo(total / characters, 8);
    expect(report.bitsPerToken).toBeCloseTo(report.natsPerToken / Math.log(2), 12);
    expect(report.bitsPerCharacter).toBeCloseTo(report.natsPerCharacter / Math.log(2), 12);
  });

  it("cuts documents to one token more than the context, and says how many", async () => {
    const report = await measure(bundled, textFile(`${first}\n<|end|>\nshort\n`), "--context", "6");
    const short = encode(readTokenizer(`${ROOT}/models/tok2048.bin`), "short", true, false).length - 1;
    expect(short).toBeLessThan(6);
    // of the long one, seven tokens are left: BOS and six that are scored
    expect(report).toMatchObject({ documents: 2, documentsCut: 1, tokensScored: 6 + short });
  });

  it("prints a table", async () => {
    const { stdout, code } = await llama2(["perplexity", bundled, textFile(first)]);
    expect(code).toBe(0);
    expect(stdout.toString()).toMatch(/^1 document: .*\n +nats +bits\nper token +\d\.\d{4} +\d\.\d{4}\nper character/);
  });

  it("reads standard input for -", async () => {
    const { stdout } = await llama2(["perplexity", bundled, "-", "--json"], { stdin: `\ufeff${first}\n` });
    expect(JSON.parse(stdout.toString())).toEqual(await measure(bundled, textFile(first)));
    const { code, stderr } = await llama2(["perplexity", bundled, "-"], { stdin: "" });
    expect(code).toBe(1);
    expect(stderr).toContain("standard input has no text in it (E_FORMAT)");
  });

  it("refuses a file without text", async () => {
    const { code, stderr } = await llama2(["perplexity", bundled, textFile("\n")]);
    expect(code).toBe(1);
    expect(stderr).toContain("E_FORMAT");
  });

  it.skipIf(!FULL || !hasShared)(
    `of stories260K on held-out stories is the reference program's${needsShared}`,
    async () => {
      const expected = sharedGolden<Record<string, number>>("perplexity.json");
      const report = await measure(sharedFile("models/stories260K.bin"), sharedFile("text/tinystories-heldout.txt"));
      expect(report).toMatchObject({
        documents: expected.documents,
        tokensScored: expected.tokens_scored,
        characters: expected.characters,
      });
      expect(Math.abs(report.natsPerToken - expected.nats_per_token)).toBeLessThan(expected.tolerance);
      expect(Math.abs(report.natsPerCharacter - expected.nats_per_character)).toBeLessThan(expected.tolerance);
    },
    600_000,
  );
});
