/*
 * The official openai package, and curl, with llama2 serve: they work unchanged.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../helpers/golden.ts";
import { npmNode } from "../helpers/modernNode.ts";
import { installConsumers, run } from "../helpers/packed.ts";
import { type ServeCommand, startServe } from "../helpers/serveCommand.ts";

/** What a user of the package would write; it prints what it has seen. */
const client = (name: string) => `
import OpenAI from "${name}";
const [baseURL, apiKey] = process.argv.slice(2);
const openai = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const seen = {};

seen.models = (await openai.models.list()).data.map(({ id }) => id);
seen.model = (await openai.models.retrieve("stories2M")).id;

const greedy = { model: "stories2M", temperature: 0, max_tokens: 4 };
const completion = await openai.completions.create({ ...greedy, prompt: "Once upon a time" });
seen.text = completion.choices[0].text;
seen.usage = completion.usage;

const many = await openai.completions.create({ model: "stories2M", prompt: ["Once", "Tom"], n: 2, seed: 3, max_tokens: 3 });
seen.indices = many.choices.map(({ index }) => index);

const scored = await openai.completions.create({ ...greedy, prompt: "Once upon", echo: true, logprobs: 2 });
const { logprobs } = scored.choices[0];
seen.tokens = logprobs.tokens;
seen.numbers = logprobs.token_logprobs.every((n) => n < 0) && logprobs.top_logprobs.length === logprobs.tokens.length;

let streamed = "";
const stream = await openai.completions.create({ ...greedy, prompt: "Once upon a time", stream: true, stream_options: { include_usage: true } });
for await (const { choices, usage } of stream) {
  streamed += choices[0]?.text ?? "";
  seen.streamedUsage = usage ?? seen.streamedUsage;
}
seen.streamed = streamed;

const messages = [{ role: "system", content: "Be nice" }, { role: "user", content: "Hello" }];
const chat = await openai.chat.completions.create({ ...greedy, messages, logprobs: true, top_logprobs: 2 });
seen.role = chat.choices[0].message.role;
seen.chatLogprobs = chat.choices[0].logprobs.content.map(({ top_logprobs }) => top_logprobs.length);
let answer = "";
for await (const { choices } of await openai.chat.completions.create({ ...greedy, messages, stream: true })) {
  answer += choices[0]?.delta?.content ?? "";
}
seen.sameAnswer = answer === chat.choices[0].message.content;

const endless = await openai.completions.create({ model: "stories2M", prompt: "Once", max_tokens: 500, seed: 1, stream: true });
for await (const _ of endless) { endless.controller.abort(); }
for (;;) {
  const { running } = await (await fetch(baseURL.replace("/v1", "/health"))).json();
  if (running === 0) break;
}
seen.aborted = true;

const errorOf = async (work) => {
  try {
    await work();
  } catch (error) {
    return [error.constructor.name, error.status, error.param ?? null, typeof error.code];
  }
};
seen.errors = [
  await errorOf(() => openai.completions.create({ ...greedy, prompt: "", max_tokens: -1 })),
  await errorOf(() => openai.completions.create({ ...greedy, model: "gpt-4", prompt: "" })),
  await errorOf(() => new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 }).models.list()),
];
console.log(JSON.stringify(seen));
`;

const EXPECTED = {
  models: ["stories2M"],
  model: "stories2M",
  text: ", there was a",
  usage: { prompt_tokens: 5, completion_tokens: 4, total_tokens: 9 },
  indices: [0, 1, 2, 3],
  tokens: [" Once", " upon", " a", " time", ",", " there"],
  numbers: true,
  streamedUsage: { prompt_tokens: 5, completion_tokens: 4, total_tokens: 9 },
  streamed: ", there was a",
  role: "assistant",
  chatLogprobs: [2, 2, 2, 2],
  sameAnswer: true,
  aborted: true,
  errors: [
    ["BadRequestError", 400, "max_tokens", "string"],
    ["NotFoundError", 404, "model", "string"],
    ["AuthenticationError", 401, null, "string"],
  ],
};

let serving: ServeCommand;
let folder: string;
beforeAll(async () => {
  installConsumers();
  const apps = join(ROOT, "test", "consumers", "apps");
  mkdirSync(apps, { recursive: true });
  folder = mkdtempSync(join(apps, "openai-"));
  serving = await startServe(["--api-key", "secret"]);
}, 300_000);
afterAll(async () => {
  serving?.child.kill("SIGTERM");
  await serving?.ended;
  rmSync(folder, { recursive: true, force: true });
});

function seenBy(node: string, name: string): unknown {
  const script = join(folder, `${name}.mjs`);
  writeFileSync(script, client(name));
  return JSON.parse(run(folder, node, [script, `${serving.url}/v1`, "secret"]));
}

describe("the openai package", () => {
  it("6 works, with this Node", () => {
    expect(seenBy(process.execPath, "openai")).toEqual(EXPECTED);
  });

  const node = npmNode("node@22");
  it.skipIf(!node)(`7 works, with npm's node@22${node ? "" : " (skipped: npx cannot get it)"}`, () => {
    expect(seenBy(node as string, "openai-7")).toEqual(EXPECTED);
  });
});

it("curl -N prints a stream as it comes", () => {
  const body = JSON.stringify({ prompt: "Once upon a time", temperature: 0, max_tokens: 4, stream: true });
  const headers = ["-H", "Content-Type: application/json", "-H", "Authorization: Bearer secret"];
  const text = execFileSync("curl", ["-sN", `${serving.url}/v1/completions`, ...headers, "-d", body], {
    encoding: "utf8",
  });
  const lines = text.trimEnd().split("\n\n");
  expect(lines.at(-1)).toBe("data: [DONE]");
  const texts = lines.slice(0, -1).map((line) => JSON.parse(line.replace(/^data: /, "")).choices[0].text);
  expect(texts.join("")).toBe(", there was a");
});
