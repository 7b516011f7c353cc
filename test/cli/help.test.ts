import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../../src/cli/options.ts";
import { hasAddon, needsAddon } from "../helpers/backends.ts";
import { example, llama2 } from "../helpers/cli.ts";
import { FULL } from "../helpers/full.ts";
import { ROOT } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

const help = async (...args: string[]) => {
  const { code, stdout, stderr } = await llama2(args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout.toString();
};

describe.concurrent("help", () => {
  it("lists all commands by purpose, on a screen of 24 lines and 80 columns", async () => {
    const screen = await help("help");
    expect(screen.match(/^\w+$/gm)).toEqual(["Tell", "Understand", "Measure", "Models"]);
    for (const command of COMMANDS.filter((name) => !["detokenize", "import", "help"].includes(name))) {
      expect(screen).toMatch(new RegExp(`^  llama2 ${command}.* {2,}\\w`, "m"));
    }
    expect(screen.trimEnd().split("\n").length).toBeLessThanOrEqual(24);
    for (const line of screen.split("\n").slice(0, -2)) expect(line.length, line).toBeLessThanOrEqual(80);
  });

  it("has examples that work as printed, except for the models and files they name", async () => {
    const cwd = tempDir();
    writeFileSync(join(cwd, "text.txt"), "Once upon a time there was a cat.");
    const named = (await help("help")) + (await help("--help"));
    const examples = [...named.matchAll(/^ +llama2 ((?:(?! {2,}).)*[^A-Z\s])(?: {2,}.*)?$/gm)].map(
      ([, found]) => found,
    );
    // a measurement keeps both cores for ten seconds
    const isShort = (example: string) => FULL || !example.startsWith("bench");
    const runnable = examples.filter((example) => !/[A-Z]{2,}/.test(example) && isShort(example));
    expect(runnable.length).toBeGreaterThan(8);
    for (const each of runnable) {
      const words = [...each.replace(/ > .*/, "").matchAll(/"([^"]*)"|(\S+)/g)].map(
        ([, quoted, word]) => quoted ?? word,
      );
      const model = join(ROOT, "models", "stories2M.bin");
      const args = words.map((word) =>
        /^(stories15M\.bin|llama2_7b_chat\.bin|llama-2-7b)$/.test(word) ? model : word,
      );
      const { code, stderr } = await example(args, { cwd });
      if (each === "doctor" && !hasAddon) continue; // it says so, with its exit status
      expect({ each, code }, stderr).toEqual({ each, code: 0 });
    }
  });

  it("explains a command", async () => {
    expect(await help("help", "quantize")).toBe(await help("quantize", "--help"));
  });

  it("suggests a command for a misspelt one", async () => {
    const { code, stderr } = await llama2(["help", "quantise"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^llama2: unknown command 'quantise' \(E_USAGE\)\n {2}Did you mean .* quantize\?\n$/);
  });

  it("says how to call the command where it is not on the path", async () => {
    const env = { PATH: "", npm_lifecycle_event: "start", npm_package_name: "llama2.ts" };
    for (const args of [["help"], ["--help"]]) {
      const { stdout } = await llama2(args, { env });
      expect(stdout.toString()).toMatch(/Where you are, llama2 is called as: npm start --\n$/);
    }
  });
});

describe.concurrent("--version", () => {
  it("prints the package's version, also as -v", async () => {
    expect(await help("--version")).toMatch(/^llama2\.ts \d+\.\d+\.\d+\n$/);
    expect(await help("-v")).toBe(await help("--version"));
  });

  it("with --verbose describes the system", async () => {
    const lines = (await help("-v", "--verbose")).trimEnd().split("\n");
    expect(lines[1]).toBe(`node: ${process.version}`);
    expect(lines[2]).toBe(`platform: ${process.platform} ${process.arch}`);
    expect(lines[3]).toMatch(/^isa: (avx512|avx2|sse2|neon|base|simd128)$/);
    expect(lines[4]).toMatch(/^backends: ((cuda, )?cpu, )?wasm, ts$/);
  });

  it.skipIf(!hasAddon)(`with --verbose names the instruction set that LLAMA2_ISA chooses${needsAddon}`, async () => {
    const verbose = async (LLAMA2_ISA: string) => {
      return (await llama2(["--version", "--verbose"], { env: { LLAMA2_ISA } })).stdout.toString();
    };
    expect(await verbose("base")).toMatch(process.arch === "x64" ? /^isa: sse2$/m : /^isa: base$/m);
    expect(await verbose("sse9")).toMatch(/^isa: simd128\nbackends: wasm, ts$/m);
  });
});
