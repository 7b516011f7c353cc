import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readTokenizer } from "../../src/checkpoint/tokenizer/find.ts";
import { decode, safePrintf } from "../../src/llama2/tokenizer.ts";
import { makeCheckpoint } from "../helpers/checkpoint.ts";
import { llama2 } from "../helpers/cli.ts";
import {
  type GenerateCase,
  golden,
  hasShared,
  needsShared,
  ROOT,
  sha256,
  sharedFile,
  sharedGolden,
} from "../helpers/golden.ts";
import { modernNode, needsModernNode, runModern } from "../helpers/modernNode.ts";
import { tempDir } from "../helpers/temp.ts";
import { tokenizerFile, vocabOf } from "../helpers/tokenizer.ts";

const BUNDLED = [`${ROOT}/models/stories2M.bin`, `${ROOT}/models/tok2048.bin`] as const;
const title = "$prompt, temperature $temperature, top-p $topp, seed $seed, $steps steps";
/** run.c's atoi reads no larger seeds. */
const withSmallSeed = ({ seed }: GenerateCase) => BigInt(seed) < 2n ** 31n;

/** examples/run.ts on a model and its tokenizer. */
const run = ([model, tokenizer]: readonly [string, string], flags: string[], stdin = "") =>
  runModern(["examples/run.ts", model, "-z", tokenizer, ...flags], { stdin });

async function checkStory(files: readonly [string, string], c: GenerateCase): Promise<void> {
  const { prompt, temperature, topp, seed, steps } = c;
  const flags = ["-i", prompt, "-t", `${temperature}`, "-p", `${topp}`, "-s", seed, "-n", `${steps}`];
  const { code, stdout } = await run(files, flags);
  const tokenizer = readTokenizer(files[1]);
  const pieces = c.tokens.slice(1).map((token, i) => safePrintf(decode(tokenizer, c.tokens[i], token)));
  expect(stdout.toString("latin1")).toBe(`${pieces.join("")}\n`);
  expect(code).toBe(0);
}

describe.skipIf(!modernNode)(`examples/run.ts${needsModernNode}`, () => {
  describe("tells run.c's stories of the bundled model", () => {
    it.each(golden<{ cases: GenerateCase[] }>("bundled-model.json").cases.filter(withSmallSeed))(title, (c) =>
      checkStory(BUNDLED, c),
    );
  });

  describe.skipIf(!hasShared)(`tells run.c's stories of stories260K${needsShared}`, () => {
    const cases = hasShared ? sharedGolden<{ cases: GenerateCase[] }>("generate-stories260K.json").cases : [];
    it.each(cases.filter(withSmallSeed))(title, (c) =>
      checkStory([sharedFile("models/stories260K.bin"), sharedFile("models/tok512.bin")], c),
    );
  });

  it("prints what the command line prints with --compat", async () => {
    const flags = ["-i", "The dog café 🎈", "-s", "12", "-t", "0.8", "-n", "60"];
    const { stdout } = await run(BUNDLED, flags);
    const { stdout: compat } = await llama2([BUNDLED[0], ...flags, "--compat", "--backend", "ts"]);
    expect(stdout.toString("latin1")).toBe(compat.toString("latin1"));
  });

  it("chats as run.c does with the bundled model", async () => {
    const goldens = golden<Record<string, string>>("command.json");
    const first = ["-m", "chat", "-y", "", "-i", "Tell me a story about a cat.", "-t", "0", "-n", "100", "-s", "1"];
    expect(sha256((await run(BUNDLED, first)).stdout)).toBe(goldens.chatFirst);
    const asked = ["-m", "chat", "-t", "0", "-n", "120", "-s", "1"];
    expect(sha256((await run(BUNDLED, asked, "Be nice.\nTell me about a dog.\n")).stdout)).toBe(goldens.chatAsked);
  });

  it("chats as run.c does over many turns", async () => {
    const folder = tempDir();
    const model = join(folder, "model.bin");
    writeFileSync(model, makeCheckpoint([16, 40, 2, 4, 4, 300, 1000]));
    const files = [model, tokenizerFile(vocabOf(300), "tokenizer.bin", folder)] as const;
    for (const c of golden<{ cases: Record<string, string>[] }>("chat.json").cases) {
      const flags = ["-m", "chat", "-t", `${c.temperature}`, "-p", `${c.topp}`, "-s", `${c.seed}`, "-n", `${c.steps}`];
      if (c.user !== undefined) flags.push("-i", c.user);
      if (c.system !== undefined) flags.push("-y", c.system);
      expect(sha256((await run(files, flags, c.stdin)).stdout), c.title).toBe(c.sha256);
    }
  });

  it.each([[[]], [["-x", "1"]], [["-t"]], [["t", "1"]], [["-m", "sing"]]])(
    "shows how it is used: %j",
    async (flags) => {
      const { code, stderr, stdout } = await runModern([
        "examples/run.ts",
        ...(flags.length > 0 ? [BUNDLED[0], ...flags] : []),
      ]);
      expect({ code, stdout: stdout.toString() }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toContain("Usage:   run <checkpoint> [options]");
    },
  );

  it("stops at a breakpoint in transformer.ts, in its own thread, where values can be read", async () => {
    const source = readFileSync(`${ROOT}/src/llama2/transformer.ts`, "utf8").split("\n");
    const line = source.findIndex((text) => text.includes("ropeAngles(s.fcr")) + 1;
    const request = {
      args: ["examples/run.ts", BUNDLED[0]],
      url: "src/llama2/transformer\\.ts$",
      line,
      expressions: ["pos", "token", "dim", "x.length", "transformer.config.vocabSize"],
    };
    const { stdout } = await runModern(["test/helpers/breakpoint.mjs", JSON.stringify(request)]);
    expect(JSON.parse(stdout.toString())).toMatchObject({
      functions: expect.arrayContaining(["forward", "generate"]),
      values: { pos: 0, token: 1, dim: expect.any(Number), "x.length": expect.any(Number) },
    });
    expect(JSON.parse(stdout.toString()).values["transformer.config.vocabSize"]).toBe(2048);
  });

  it("is run.c's main in less than 100 lines, on src/llama2/ and node:fs alone", () => {
    const text = readFileSync(`${ROOT}/examples/run.ts`, "utf8");
    expect(text.trimEnd().split("\n").length).toBeLessThan(100);
    const imports = [...text.matchAll(/ from "(.*)"/g)].map(([, path]) => path);
    expect(imports.filter((path) => path !== "node:fs" && !path.startsWith("../src/llama2/"))).toEqual([]);
  });
});
