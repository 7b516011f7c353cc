/*
 * What llama2 suggests for arguments that do not work: the command that may be meant.
 */
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { invocation, quote } from "../../src/cli/invocation.ts";
import { llama2 } from "../helpers/cli.ts";
import { tempDir } from "../helpers/temp.ts";

/** As if it had been started as `npx .` */
const env = { npm_command: "exec", npm_config_user_agent: "npm/11.0.0 node/v20", npm_lifecycle_event: "npx" };
const here = "npx llama2.ts";

describe.concurrent("a hint", () => {
  it.each([
    ["a prompt without -i", ["Lily found a ball"], 1, `begins with these words: ${here} -i "Lily found a ball"`],
    [
      "a prompt without quotes",
      ["Lily", "found", "a", "ball"],
      2,
      `begins with these words: ${here} -i "Lily found a ball"`,
    ],
    ["a misspelt command", ["tokenise", "a text"], 2, `Did you mean ${here} tokenize?`],
    ["a misspelt command alone", ["hepl"], 1, `Did you mean ${here} help?`],
    ["a misspelt flag", ["--temprature", "1"], 2, "Did you mean --temperature?"],
    ["a file of a model that has a name", ["stories42M.bin"], 1, `${here} pull stories42M`],
    ["another file that is not there", ["my-model.bin"], 1, `${here} pull stories15M`],
    ["a model that was not pulled", ["stories15M"], 1, `Fetch it: ${here} pull stories15M`],
    ["a repository that was not pulled", ["an-org/a-repo"], 1, `Fetch it: ${here} pull an-org/a-repo`],
  ])("is given for %s", async (_, args, exit, hint) => {
    const { code, stderr } = await llama2(args, { env, cwd: tempDir() });
    expect(stderr).toContain(hint);
    expect(code).toBe(exit);
  });

  it("is not given for two models", async () => {
    const { stderr } = await llama2(["a.bin", "b.bin"], { env });
    expect(stderr).toBe("llama2: too many arguments, expected at most one model (E_USAGE)\n");
  });
});

describe("the command in a message", () => {
  const bin = tempDir();
  writeFileSync(join(bin, "llama2"), "");
  const clone = tempDir();
  mkdirSync(join(clone, "src", "cli"), { recursive: true });
  const project = tempDir();
  const main = join("dist", "node", "main.js");
  mkdirSync(join(clone, "dist", "node"), { recursive: true });
  writeFileSync(join(clone, main), "");
  const inCache = join(tempDir(), "node_modules", ".bin");
  mkdirSync(inCache, { recursive: true });
  symlinkSync(join(clone, main), join(inCache, "llama2"));
  const bins = join("scripts", "llama2.mjs");
  const installed = join(project, "node_modules", "llama2.ts", bins);
  const npm = { npm_config_user_agent: "npm/11.0.0 node/v20" };

  it.each([
    ["installed globally", "llama2", join(bin, "llama2"), project, { PATH: bin }],
    ["a script on the path, as pnpm has it", "llama2", installed, project, { PATH: bin }],
    ["node in a project", `node ${join("node_modules", "llama2.ts", bins)}`, installed, project, {}],
    [
      "npm start in a clone",
      "npm start --",
      "llama2",
      clone,
      { npm_lifecycle_event: "start", npm_package_name: "llama2.ts", ...npm },
    ],
    [
      "pnpm start in a clone",
      "pnpm start",
      "llama2",
      clone,
      { npm_lifecycle_event: "start", npm_package_name: "llama2.ts", npm_config_user_agent: "pnpm/10" },
    ],
    ["npx in a clone", "npx .", join(clone, main), clone, { npm_command: "exec", ...npm }],
    ["npx in a clone, by npm's cache", "npx .", join(inCache, "llama2"), clone, { npm_command: "exec", ...npm }],
    [
      "npx in a project",
      "npx llama2.ts",
      join(project, "node_modules", ".bin", "llama2"),
      project,
      { npm_command: "exec", ...npm },
    ],
    ["pnpm exec", "pnpm exec llama2", installed, project, { npm_command: "exec", npm_config_user_agent: "pnpm/10" }],
    ["yarn", "yarn llama2", installed, project, { npm_config_user_agent: "yarn/4" }],
    ["node in a clone", `node ${main}`, join(clone, main), clone, {}],
    [
      "a link off the path",
      join("node_modules", ".bin", "llama2"),
      join(project, "node_modules", ".bin", "llama2"),
      project,
      {},
    ],
  ])("is, when it is %s, %s", (_, expected, script, cwd, env) => {
    expect(invocation({ script, cwd, env: { PATH: "", ...env } })).toBe(expected);
  });

  it.skipIf(process.platform === "win32").each([
    ["text.txt", "text.txt"],
    ["two words", '"two words"'],
    ["it's", `"it's"`],
    ['say "hi"', `'say "hi"'`],
    ["it's $1", `'it'\\''s $1'`],
    ["", '""'],
  ])("quotes %j as %s", (text, quoted) => {
    expect(quote(text)).toBe(quoted);
  });
});
