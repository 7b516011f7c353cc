import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { llama2 } from "../helpers/cli.ts";
import { ROOT } from "../helpers/golden.ts";
import { type ServeCommand, startServe } from "../helpers/serveCommand.ts";
import { slowFile } from "../helpers/sparse.ts";
import type { Parsed } from "../helpers/storyServer.ts";
import { eventsOf } from "../helpers/storyServer.ts";
import { tempDir } from "../helpers/temp.ts";

const bundled = join(ROOT, "models", "stories2M.bin");
const tokenizer = join(ROOT, "models", "tok2048.bin");

const jsonOf = async (response: Response | Promise<Response>): Promise<Parsed> => (await response).json();

/** A stream that has begun, and the promise of its remaining text. */
async function begin({ url }: ServeCommand, body: object): Promise<{ remaining: Promise<string> }> {
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ prompt: "Once", stream: true, ...body }),
  });
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const first = await reader.read();
  const rest = async () => {
    let text = "";
    for (let { value, done } = first; !done; { value, done } = await reader.read())
      text += new TextDecoder().decode(value);
    return eventsOf(text)
      .map(({ choices }) => choices[0].text)
      .join("");
  };
  return { remaining: rest() };
}

describe.concurrent("serve", () => {
  it("serves several models by name, with the same stories as the command line", async () => {
    const other = join(tempDir(), "other.bin");
    copyFileSync(bundled, other);
    const serving = await startServe([bundled, other, "-z", tokenizer]);
    const list = await jsonOf(fetch(`${serving.url}/v1/models`));
    expect(list.data.map(({ id }: { id: string }) => id)).toEqual(["stories2M", "other"]);
    const body = { prompt: "Once", model: "other", seed: 5, top_p: 0.9, max_tokens: 20, echo: true };
    const headers = { "Content-Type": "application/json" };
    const response = await fetch(`${serving.url}/v1/completions`, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    });
    const { choices } = await jsonOf(response);
    const { stdout } = await llama2(["-i", "Once", "-s", "5", "-n", "21"]);
    expect(`${choices[0].text}\n`).toBe(stdout.toString());
    serving.child.kill("SIGTERM");
    expect(await serving.ended).toMatchObject({ code: 0, stderr: `serving stories2M, other at ${serving.url}\n` });
  });

  it.each(["SIGINT", "SIGTERM"] as const)("%s lets what runs come to its end, and ends with 0", async (signal) => {
    const serving = await startServe([]);
    const { remaining } = await begin(serving, { seed: 1, max_tokens: 40 });
    serving.child.kill(signal);
    const expected = await llama2(["-i", "Once", "-s", "1", "-p", "1", "-n", "41"]);
    expect(`Once${await remaining}\n`).toBe(expected.stdout.toString());
    expect((await serving.ended).code).toBe(0);
  });

  it("a second Ctrl-C ends it at once, with 130", async () => {
    const serving = await startServe([slowFile(), "-z", tokenizer, "--backend", "ts"]);
    const { remaining } = await begin(serving, { max_tokens: 1000, temperature: 0 });
    remaining.catch(() => {});
    serving.child.kill("SIGINT");
    // it is draining: no new client is accepted
    while (
      await fetch(`${serving.url}/health`).then(
        () => true,
        () => false,
      )
    );
    serving.child.kill("SIGINT");
    expect((await serving.ended).code).toBe(130);
    await expect(remaining).rejects.toThrow();
  });

  it("takes its key from LLAMA2_API_KEY", async () => {
    const serving = await startServe([], { LLAMA2_API_KEY: "secret" });
    const status = async (headers: Record<string, string>) =>
      (await fetch(`${serving.url}/v1/models`, { headers })).status;
    expect([await status({}), await status({ Authorization: "Bearer secret" })]).toEqual([401, 200]);
    serving.child.kill("SIGTERM");
    await serving.ended;
  });

  it("refuses an address that other machines reach without a key, before it loads a model, with exit code 2", async () => {
    const { code, stderr } = await llama2(["serve", "missing.bin", "--host", "0.0.0.0"]);
    expect({ code }).toEqual({ code: 2 });
    expect(stderr).toMatch(/^llama2: 0.0.0.0 can be reached from other machines.*api-key.*\(E_USAGE\)\n$/);
  });

  it("refuses two models with the same name", async () => {
    const copy = join(tempDir(), "stories2M.bin");
    copyFileSync(bundled, copy);
    const { code, stderr } = await llama2(["serve", bundled, copy, "-z", tokenizer]);
    expect({ code }).toEqual({ code: 2 });
    expect(stderr).toContain("two models are called stories2M");
  });

  it("a port in use is refused with exit code 1", async () => {
    const serving = await startServe([]);
    const { code, stderr } = await llama2(["serve", "--port", new URL(serving.url).port]);
    expect({ code }).toEqual({ code: 1 });
    expect(stderr).toContain("the port is taken");
    serving.child.kill("SIGTERM");
    await serving.ended;
  });
});
