/*
 * A pulled model can be named in every command that takes a model.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { makeCheckpoint, SHAPES } from "../helpers/checkpoint.ts";
import { llama2 } from "../helpers/cli.ts";
import { hubEnv, type Repositories, startHub } from "../helpers/hub.ts";
import { startServe } from "../helpers/serveCommand.ts";
import { tempDir } from "../helpers/temp.ts";
import { tokenizerBytes, vocabOf } from "../helpers/tokenizer.ts";

const name = "an-org/stories";
const folder = "an-org/tiny";
const model = { "a.bin": makeCheckpoint(SHAPES["260K"]), "tok512.bin": tokenizerBytes(vocabOf(512)) };
const repositories: Repositories = { [name]: model };
const hub = await startHub(repositories);
const [cwd, cache] = [tempDir(), tempDir()];
const env = hubEnv(hub, cache, { HF_HUB_OFFLINE: "1" });

beforeAll(async () => {
  writeFileSync(join(cwd, "text.txt"), `"Once upon a time"\n`);
  for (const [file, bytes] of Object.entries(model)) writeFileSync(join(cwd, file), bytes);
  await llama2(["convert", "a.bin", "tiny", "--to", "safetensors"], { cwd });
  const files = readdirSync(join(cwd, "tiny"));
  repositories[folder] = Object.fromEntries(files.map((file) => [file, readFileSync(join(cwd, "tiny", file))]));
  for (const one of [name, folder]) await llama2(["pull", one], { env: hubEnv(hub, cache) });
});

describe("a pulled model is found by", () => {
  it.each([
    ["story", [name, "-n", "4"]],
    ["inspect", ["inspect", name]],
    ["logits", ["logits", name, "--tokens", "1,2"]],
    ["perplexity", ["perplexity", name, "text.txt"]],
    ["quantize", ["quantize", name, "q.bin"]],
    ["convert", ["convert", name, "c.bin"]],
    ["fit", ["fit", name]],
    ["trace", ["trace", name, "-i", "Once"]],
    ["complete", ["complete", name, "--prompts", "text.txt", "--max-tokens", "4"]],
    ["bench", ["bench", name, "--quick", "-p", "4", "-n", "4", "-r", "1", "--backend", "cpu,wasm"]],
    ["chat", ["chat", name, "-n", "4"]],
  ])("%s", async (_, args) => {
    const { code, stdout, stderr } = await llama2(args, { cwd, env, stdin: "" });
    expect({ code }, stderr).toEqual({ code: 0 });
    expect({ stdout: stdout.toString(), stderr }).not.toEqual({ stdout: "", stderr: "" });
  });

  it("serve", async () => {
    const { child, url, ended } = await startServe([name], env);
    const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string }[] };
    child.kill("SIGTERM");
    expect(data.map(({ id }) => id)).toEqual(["a"]);
    expect((await ended).code).toBe(0);
  });

  it("study", async () => {
    const { code, stdout, stderr } = await llama2(["study", name, "--no-open"], {
      env,
      onStdout: (child) => child.kill("SIGINT"),
    });
    expect({ code }, stderr).toEqual({ code: 0 });
    expect(stdout.toString()).toMatch(/^http:/);
  });
});

it("a folder in the cache, which is named by its commit, is shown with its repository's name everywhere", async () => {
  const more = { env, cwd };
  const said = async (args: string[]) => {
    const { stdout, stderr } = await llama2(args, more);
    expect(stdout.toString(), stderr).not.toBe("");
    return JSON.parse(stdout.toString());
  };
  expect((await said(["inspect", folder, "--json"])).name).toBe("tiny");
  expect((await said(["fit", folder, "--json"])).model.name).toBe("tiny");
  expect((await said(["trace", folder, "-i", "a", "--json"])).model).toBe("tiny");
  expect((await said(["bench", folder, "--quick", "-p", "4", "-n", "4", "-r", "1", "--json"])).rows[0].model).toBe(
    "tiny",
  );
});
