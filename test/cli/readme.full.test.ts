/*
 * The README: each command in it works, and its story is this program's.
 */
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { example, llama2 } from "../helpers/cli.ts";
import { shortOrLong } from "../helpers/full.ts";
import { ROOT } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

const readme = readFileSync(join(ROOT, "README.md"), "utf8");

/** The commands of its indented blocks, without their explanations. */
const commands = [...readme.matchAll(/^ {4}((?:llama2|npm|npx|node)\b.*)$/gm)].map(
  ([, line]) => line.split(/ {2,}/)[0],
);

/** The arguments of a command of llama2's, however it is called there. */
const argumentsOf = (command: string) => /^(?:llama2|npm start(?: --)?|npx \.)(?: (.*))?$/.exec(command);
const [ours, others] = [true, false].map((is) => commands.filter((command) => (argumentsOf(command) !== null) === is));
const needsGpu = (command: string) => command.includes("--backend cuda");
/** Fetching is tested in test/pull/, from a server of the tests' own. */
const needsNetwork = (command: string) => /^llama2 (pull |stories15M$|inspect https:)/.test(command);
/** `bench` measures for longer than a fast test may take. */
const isLong = (command: string) => command.includes(" bench ");

const words = (text: string) => text.trim().split(/\s+/);

it("the README's story is the one of the seed that it names", async () => {
  const [, block] = /npm start\n\n((?: {4}.+\n)+)/.exec(readme) ?? [];
  const [, seed] = /`npm start -- -s (\d+)` tells it again/.exec(readme) ?? [];
  const { stdout } = await llama2(["-s", seed]);
  expect(words(block)).toEqual(words(stdout.toString()));
});

describe("of the README's commands", () => {
  const cwd = tempDir();
  for (const name of ["stories15M.bin"]) copyFileSync(join(ROOT, "models", "stories2M.bin"), join(cwd, name));
  writeFileSync(join(cwd, "held-out.txt"), "Once upon a time there was a cat.");

  beforeAll(async () => {
    // the bundled model stands for all others: here as the folder that Hugging Face would have
    const { code, stderr } = await llama2(["convert", "stories15M.bin", "llama-2-7b", "--to", "safetensors"], { cwd });
    expect({ code }, stderr).toEqual({ code: 0 });
    writeFileSync(join(cwd, "prompts.json"), '["Once upon a time", "Tom"]');
    writeFileSync(join(cwd, "story.json"), (await llama2(["--json", "--receipt", "-n", "20"])).stdout);
  });

  it.each(
    ours.filter((command) => !needsGpu(command) && !needsNetwork(command) && shortOrLong(!isLong(command), true)),
  )("works: %s", async (command) => {
    const [, rest = ""] = argumentsOf(command) ?? [];
    const args = [...rest.replace(/ > \S+$/, "").matchAll(/"([^"]*)"|(\S+)/g)].map(
      ([, quoted, word]) => quoted ?? word,
    );
    const tellsToTheEnd = !/^[a-z]/.test(args.find((arg) => !arg.endsWith(".bin")) ?? "-") && !args.includes("-n");
    const short = tellsToTheEnd ? shortOrLong(["-n", "24"], []) : [];
    const { code, stdout, stderr } = await example([...args, ...short], { cwd });
    expect({ code }, stderr).toEqual({ code: 0 });
    expect(stdout.length + stderr.length).toBeGreaterThan(0);
  });

  it.each(others.filter((command) => command.startsWith("npm run ")))("a script exists for: %s", (command) => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    expect(Object.keys(scripts)).toContain(command.split(" ")[2]);
  });

  it("every command in it is of a known kind", () => {
    const known = [/^npm (run|ci|test|pack|install)\b/, /^node (src\/cli\/main\.ts|--inspect-brk examples\/run\.ts) /];
    expect(others.filter((command) => !known.some((pattern) => pattern.test(command)))).toEqual([]);
    expect(ours.length).toBeGreaterThan(10);
  });
});
