import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkpointFile } from "../helpers/checkpoint.ts";
import { llama2, llama2Process, MAIN } from "../helpers/cli.ts";
import { type GenerateCase, golden, ROOT, sha256 } from "../helpers/golden.ts";
import { slowFile } from "../helpers/sparse.ts";
import { tempDir } from "../helpers/temp.ts";
import { tokenizerFile, vocabOf } from "../helpers/tokenizer.ts";

const { cases } = golden<{ cases: GenerateCase[] }>("bundled-model.json");
const goldens = golden<Record<string, string>>("command.json");

describe("a story", () => {
  it("is told without any argument, with its seed and its speed on stderr", async () => {
    const { code, stdout, stderr } = await llama2Process([]);
    expect(code).toBe(0);
    expect(stdout.toString()).toMatch(/^\w[\s\S]{100,}\n$/);
    expect(stderr).toMatch(/^seed: \d+\nachieved tok\/s: \d+\.\d{6}\n$/);
  });

  it("is the same for the same seed", async () => {
    const { stderr, stdout } = await llama2(["-n", "40"]);
    const seed = /seed: (\d+)/.exec(stderr)?.[1] ?? "";
    expect((await llama2(["-n", "40", "-s", seed])).stdout).toEqual(stdout);
  });

  it.each(cases.filter(({ prompt }) => prompt !== ""))("has its prompt's bytes in front: $prompt", async (c) => {
    const flags = ["-t", `${c.temperature}`, "-p", `${c.topp}`, "-s", c.seed, "-n", `${c.steps}`];
    const { stdout } = await llama2([...flags, "-i", c.prompt]);
    expect(stdout.toString()).toBe(`${c.text}\n`);
  });

  it("takes its prompt from standard input, without one final newline", async () => {
    const { tokens } = JSON.parse(
      (await llama2(["-i", "-", "--json", "-n", "8"], { stdin: "a\nb\n" })).stdout.toString(),
    );
    const { prompt_tokens } = cases.find(({ prompt }) => prompt === "a\nb") as GenerateCase;
    expect(tokens.slice(0, prompt_tokens.length)).toEqual(prompt_tokens);
  });

  it("goes on to its end or the context's; with --compat, to run.c's 256 positions", async () => {
    const endless = checkpointFile([16, 40, 2, 4, 4, 2048, 300]);
    const flags = [endless, "-z", join(ROOT, "models", "tok2048.bin"), "-t", "0", "-s", "1", "--json"];
    const positions = async (...more: string[]) =>
      JSON.parse((await llama2([...flags, ...more])).stdout.toString()).tokens.length - 1;
    expect(await positions()).toBe(300);
    expect(await positions("--compat")).toBe(256);
    expect(await positions("--compat", "-n", "0")).toBe(300);
  });

  it("notes that a prompt ends in a space, also one from standard input", async () => {
    const flags = ["-n", "8", "-s", "1"];
    expect((await llama2([...flags, "-i", "Once upon a "])).stderr).toContain("the prompt ends in a space");
    expect((await llama2([...flags, "-i", "-"], { stdin: "Once " })).stderr).toContain("the prompt ends in a space");
    expect((await llama2([...flags, "-i", "Once upon a"])).stderr).not.toContain("space");
  });

  it("with --quiet has nothing on stderr but errors", async () => {
    const quiet = await llama2(["--quiet", "-i", "A b c d ", "-n", "4", "--backend", "ts", "--threads", "2"]);
    expect(quiet).toMatchObject({ code: 0, stderr: "" });
    expect((await llama2(["--quiet", "missing.bin"])).stderr).toMatch(/^llama2: cannot open missing.bin/);
  });

  it("with --escape interprets escapes in its prompt", async () => {
    const flags = ["-n", "60", "-s", "1", "--escape", "--quiet"];
    const { stdout } = await llama2([...flags, "-i", "a\\nb\\tc\\\\n \\u{1f600}\\x"]);
    expect(stdout.toString().startsWith("a\nb\tc\\n \u{1f600}\\x")).toBe(true);
    const { code, stderr } = await llama2([...flags, "-i", "\\u{110000}"]);
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: "llama2: \\u{110000} is not a character: the last is \\u{10FFFF} (E_USAGE)\n",
    });
  });

  it("takes a prompt that begins with a dash", async () => {
    const { stdout } = await llama2(["-i", "- item", "-n", "8", "-s", "1"]);
    expect(stdout.toString()).toMatch(/^- item/);
  });

  it("with --compat has exactly run.c's bytes", async () => {
    const { stdout } = await llama2Process(["--compat", "-i", "café 😀", "-t", "0", "-n", "64", "-s", "1"]);
    expect(sha256(stdout)).toBe(goldens.compatStory);
  });

  it("shows U+FFFD for an unfinished character at its end", async () => {
    // the prompt is cut within the emoji's four byte tokens
    const { stdout } = await llama2(["-i", "😀", "-t", "0", "-n", "3", "-s", "1"]);
    expect(stdout.toString()).toBe("\ufffd\n");
  });

  it("reports no speed when it ends at the first forward call", async () => {
    expect((await llama2(["-n", "1", "-s", "1"])).stderr).toBe("");
  });

  it("cuts a prompt that is longer than -n, and says so", async () => {
    const { stdout, stderr } = await llama2(["-i", "Lily found a red ball", "-n", "3", "-s", "1"]);
    expect(stdout.toString()).toBe("Lily found a\n");
    expect(stderr).toContain("the prompt has 6 tokens and is cut at 3 positions");
  });

  it("with -n 0, or more than the context, goes on to the context's end", async () => {
    const untilFull = ["-t", "0", "--context", "20", "-s", "1", "--json"];
    for (const n of ["0", "9999"]) {
      const { stdout } = await llama2([...untilFull, "-n", n]);
      expect(JSON.parse(stdout.toString()).tokens.length).toBe(21);
    }
  });

  it("says so if the ts backend is asked for more threads", async () => {
    const { stderr, code } = await llama2(["--backend", "ts", "--threads", "4", "-n", "3", "-s", "1"]);
    expect({ stderr: stderr.split("\n")[0], code }).toEqual({ stderr: "the ts backend runs on one thread", code: 0 });
  });
});

describe("the end of a story", () => {
  // at so high a temperature all 300 tokens are equally likely, also those that end a story
  const model = checkpointFile([16, 40, 2, 4, 4, 300, 4000]);
  const tokenizer = tokenizerFile(vocabOf(300));
  const storyWith = async (...flags: string[]) => {
    const shared = [model, "-z", tokenizer, "-t", "1e9", "-p", "0", "-s", "4", "--json", "--quiet"];
    return JSON.parse((await llama2([...shared, ...flags])).stdout.toString());
  };

  it("is BOS or EOS; only BOS with --compat; neither with --ignore-eos", async () => {
    const all = await storyWith("--ignore-eos", "-n", "3000");
    const [bos, eos] = [all.tokens.indexOf(1, 1), all.tokens.indexOf(2)];
    expect(eos).toBeGreaterThan(1);
    expect(bos).toBeGreaterThan(eos);
    expect(all).toMatchObject({ finishReason: "length", tokens: { length: 3001 } });
    expect(await storyWith()).toMatchObject({ finishReason: "stop", tokens: all.tokens.slice(0, eos) });
    expect(await storyWith("--compat", "-n", "0")).toMatchObject({
      finishReason: "stop",
      tokens: all.tokens.slice(0, bos),
    });
  });
});

describe("--best", () => {
  const flags = ["-s", "5", "-t", "0.9", "-i", "One day"];

  it("prints the most probable finished story of several seeds", async () => {
    const { stdout, stderr } = await llama2([...flags, "--best", "4", "--json"]);
    const { best, seed, tokens, text } = JSON.parse(stdout.toString());
    expect(best.map(({ seed }: { seed: string }) => seed)).toEqual(["5", "6", "7", "8"]);
    type Candidate = { seed: string; ended: boolean; meanLogprob: number; tokens: number[] };
    const ended = best.filter(({ ended }: Candidate) => ended) as Candidate[];
    const likeliest = ended.reduce((a, b) => (b.meanLogprob > a.meanLogprob ? b : a));
    expect(seed).toBe(likeliest.seed);
    expect(tokens.slice(-likeliest.tokens.length)).toEqual(likeliest.tokens);
    expect(stderr).toContain(`the best of 4: seed ${seed}\n`);
    const alone = await llama2(["-s", seed, ...flags.slice(2)]);
    expect(alone.stdout.toString()).toBe(`${text}\n`);
    expect((await llama2([...flags, "--best", "4"])).stdout.toString()).toBe(`${text}\n`);
  });

  it("generates a single story at temperature 0", async () => {
    const greedy = ["-t", "0", "-n", "40", "-s", "5"];
    const { stdout } = await llama2([...greedy, "--best", "4"]);
    expect(stdout).toEqual((await llama2(greedy)).stdout);
  });
});

describe("--json", () => {
  it("is one object, with the speed on stderr", async () => {
    const c = cases[0];
    const { stdout, stderr } = await llama2(["--json", "-t", "0", "-s", "1", "-n", "256"]);
    const { timings, lookahead, ...story } = JSON.parse(stdout.toString());
    expect(Object.keys(lookahead)).toEqual(["passes", "guessed", "accepted", "tokensPerPass"]);
    expect(story).toEqual({
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      model: {
        name: "stories2M",
        format: "llama2c-v0",
        precision: "fp32",
        parameters: 2_422_848,
        dim: 192,
        hiddenDim: 512,
        layers: 5,
        heads: 6,
        kvHeads: 3,
        vocabSize: 2048,
        context: 512,
      },
      backend: expect.any(String),
      threads: expect.any(Number),
      isa: expect.stringMatching(/^(avx512|avx2|sse2|neon|base|simd128)$/),
      prompt: "",
      promptTokens: 1,
      tokens: c.tokens,
      text: c.text,
      seed: "1",
      temperature: 0,
      topP: 0.9,
      finishReason: expect.stringMatching(/^(stop|length)$/),
      peakBytes: expect.any(Number),
    });
    expect(Object.keys(timings).sort()).toEqual(
      ["decodeMs", "firstTokenMs", "loadMs", "prefillMs", "sampleMs", "tokensPerSecond"].sort(),
    );
    expect(stderr).toBe(`achieved tok/s: ${timings.tokensPerSecond.toFixed(6)}\n`);
  });

  it("of a story that Ctrl-C ends is also an object", async () => {
    const tokenizer = ["-z", join(ROOT, "models", "tok2048.bin")];
    const child = spawn(process.execPath, [
      MAIN,
      slowFile(),
      ...tokenizer,
      "--backend",
      "ts",
      "--json",
      "--ignore-eos",
    ]);
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      if (stderr === "") setTimeout(() => child.kill("SIGINT"), 300); // it has told the seed, and begins
      stderr += chunk;
    });
    expect(await new Promise((resolve) => child.on("close", resolve))).toBe(130);
    const { finishReason, tokens, text } = JSON.parse(stdout);
    expect(finishReason).toBe("cancelled");
    expect(tokens.length).toBeLessThan(1025);
    expect(typeof text).toBe("string");
  });

  it("has the whole text, with the prompt, and the seed that the clock chose", async () => {
    const { stdout, stderr } = await llama2(["--json", "-i", "café 😀", "-n", "12"]);
    const { text, seed } = JSON.parse(stdout.toString());
    expect(text.startsWith("café 😀")).toBe(true);
    expect(stderr).toContain(`seed: ${seed}\n`);
  });
});

describe("an interrupted story", () => {
  const tokenizer = ["-z", join(ROOT, "models", "tok2048.bin")];
  const endless = () => [slowFile(), ...tokenizer, "--backend", "ts", "-n", "0", "-s", "1", "-i", "A dog"];

  it("Ctrl-C stops it within a token, with the text so far, and exits with 130", async () => {
    let atInterrupt = "";
    const { code, stdout, stderr } = await llama2(endless(), {
      onStdout(child, soFar) {
        if (soFar.length > 20 && atInterrupt === "") {
          atInterrupt = soFar;
          child.kill("SIGINT");
        }
      },
    });
    expect(code).toBe(130);
    expect(stdout.toString().startsWith(atInterrupt)).toBe(true);
    expect(stdout.toString().endsWith("\n")).toBe(true);
    expect(stdout.length - atInterrupt.length).toBeLessThan(100);
    expect(stderr).toBe("");
  });

  it("Ctrl-C also ends it while it waits for standard input", async () => {
    const child = spawn(process.execPath, [MAIN, "-i", "-"], { stdio: ["pipe", "ignore", "ignore"] });
    const code = new Promise((resolve) => child.on("close", resolve));
    setTimeout(() => child.kill("SIGINT"), 2000);
    expect(await code).toBe(130);
  });

  it("a reader that closes the pipe, as head does, ends it without a message, with exit code 0", async () => {
    const { code, stderr } = await llama2(endless(), {
      onStdout: (child) => child.stdout?.destroy(),
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  });
});

describe("an error of a story", () => {
  it("a missing model: says what can be done", async () => {
    const { code, stdout, stderr } = await llama2Process(["stories15M.bin"], { cwd: tempDir() });
    expect({ code, stdout: stdout.toString() }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("cannot open stories15M.bin: there is no such file (E_FILE)");
    expect(stderr).toContain("Without a model, llama2 tells a story");
  });

  it("a model that is not a checkpoint: says what it is", async () => {
    const page = join(tempDir(), "stories15M.bin");
    writeFileSync(page, "<!DOCTYPE html><html>");
    const { code, stderr } = await llama2([page]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/HTML page.*\(E_FORMAT\)/);
  });

  it("a backend that cannot run here: never replaced by another", async () => {
    const { code, stdout, stderr } = await llama2Process(["--backend", "cpu"], { env: { LLAMA2_ISA: "avx1024" } });
    expect({ code, stdout: stdout.toString() }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/\(E_DEVICE_UNAVAILABLE\)/);
  });
});
