/*
 * What a server refuses: invalid values, other sites' requests, and more requests than it has room for.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadModel } from "../../src/loadModel.ts";
import { drained } from "../../src/server/answer.ts";
import { StoryServer } from "../../src/server/server.ts";
import { checkpointFile, type Shape } from "../helpers/checkpoint.ts";
import { Serving } from "../helpers/storyServer.ts";
import { tokenizerFile, vocabOf } from "../helpers/tokenizer.ts";

describe("an invalid request is answered with a 4xx and JSON:", () => {
  let serving: Serving;
  beforeAll(async () => {
    serving = await Serving.start();
  });
  afterAll(() => serving.end());

  it.each<[string, object, string | null]>([
    ["no prompt", {}, "prompt"],
    ["an empty array of prompts", { prompt: [] }, "prompt"],
    ["a number for a prompt", { prompt: 5 }, "prompt"],
    ["tokens that are no numbers", { prompt: [1, "a"] }, "prompt"],
    ["a token out of range", { prompt: [1, 999_999] }, null],
    ["a prompt longer than the context", { prompt: new Array(600).fill(5) }, null],
    ["n: 1e9", { prompt: "", n: 1e9 }, "n"],
    ["200 choices in all", { prompt: new Array(100).fill("a"), n: 2 }, "n"],
    ["max_tokens: -1", { prompt: "", max_tokens: -1 }, "max_tokens"],
    ["max_tokens: 1.5", { prompt: "", max_tokens: 1.5 }, "max_tokens"],
    ["a negative temperature", { prompt: "", temperature: -1 }, "temperature"],
    ["temperature as text", { prompt: "", temperature: "1" }, "temperature"],
    ["top_p: 2", { prompt: "", top_p: 2 }, "top_p"],
    ["a seed that is not whole", { prompt: "", seed: 1.5 }, "seed"],
    ["a seed beyond 64 bits", { prompt: "", seed: "99999999999999999999" }, "seed"],
    ["21 alternatives", { prompt: "", logprobs: 21 }, "logprobs"],
    ["an empty stop", { prompt: "", stop: "" }, "stop"],
    ["17 stops", { prompt: "", stop: new Array(17).fill("x") }, "stop"],
    ["stream: 1", { prompt: "", stream: 1 }, "stream"],
    ["what is not supported", { prompt: "", logit_bias: { 5: 1 } }, "logit_bias"],
    ["a suffix", { prompt: "", suffix: "end" }, "suffix"],
    ["a misspelt parameter", { prompt: "", temprature: 1 }, "temprature"],
    ["another model", { prompt: "", model: "../../etc/passwd" }, "model"],
  ])("%s", async (_, body, param) => {
    const { status, json } = await serving.post("/v1/completions", { max_tokens: 2, ...body });
    expect(status).toBe(param === "model" ? 404 : 400);
    expect(json.error).toEqual({
      message: expect.any(String),
      type: param === "model" ? "not_found_error" : "invalid_request_error",
      param,
      code: expect.any(String),
    });
  });

  const user = { role: "user", content: "Hi" };
  it.each<[string, object]>([
    ["no messages", {}],
    ["an empty array", { messages: [] }],
    ["a message without a role", { messages: [{ content: "Hi" }] }],
    ["a message that is text", { messages: ["Hi"] }],
    ["null for a message", { messages: [null] }],
    ["an answer last", { messages: [user, { role: "assistant", content: "x" }] }],
    ["two questions in a row", { messages: [user, user] }],
    ["a picture", { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }] }],
    ["alternatives without logprobs", { messages: [user], top_logprobs: 2 }],
    ["tools", { messages: [user], tools: [{ type: "function" }] }],
    ["JSON as the format", { messages: [user], response_format: { type: "json_object" } }],
  ])("a chat with %s", async (_, body) => {
    const { status, json } = await serving.post("/v1/chat/completions", body);
    expect({ status, type: json.error.type }).toEqual({ status: 400, type: "invalid_request_error" });
  });

  it.each<[string, number, string, string, string | undefined, Record<string, string>]>([
    ["a body that is not JSON", 400, "POST", "/v1/completions", "{", {}],
    ["an array for a body", 400, "POST", "/v1/completions", "[]", {}],
    ["null for a body", 400, "POST", "/v1/completions", "null", {}],
    ["no body", 400, "POST", "/v1/completions", "", {}],
    ["another type", 415, "POST", "/v1/completions", "{}", { "Content-Type": "text/plain" }],
    ["a body one byte too long", 413, "POST", "/v1/completions", " ".repeat(2 ** 20 + 1), {}],
    ["the same in chunks", 413, "POST", "/v1/completions", " ".repeat(2 ** 20 + 1), { "Transfer-Encoding": "chunked" }],
    ["another path", 404, "GET", "/v2/models", undefined, {}],
    ["a path of files", 404, "GET", "/page/../server.js", undefined, {}],
    ["another model's description", 404, "GET", "/v1/models/gpt-4", undefined, {}],
    ["a path that is none", 400, "GET", "//", undefined, {}],
    ["bytes that are no text", 400, "GET", "/v1/models/%ff", undefined, {}],
    ["another method", 405, "GET", "/v1/completions", undefined, {}],
    ["OPTIONS, as pages of other sites send it first", 405, "OPTIONS", "/v1/completions", undefined, {}],
  ])("%s: %d", async (_, status, method, path, body, headers) => {
    const json = { "Content-Type": "application/json" };
    const answered = await serving.send(method, path, body, { ...json, ...headers });
    expect(answered.status).toBe(status);
    expect(typeof answered.json.error.message).toBe("string");
    expect(answered.headers["access-control-allow-origin"]).toBeUndefined();
  });

  it("any body is answered with JSON, never with 500, and the next request works", async () => {
    const names = [
      "prompt",
      "n",
      "max_tokens",
      "stop",
      "seed",
      "logprobs",
      "echo",
      "stream",
      "temperature",
      "messages",
    ];
    const value = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom(0, -1, 1e9, "", [], {}, null, true, "Once"));
    const body = fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 5 });
    await fc.assert(
      fc.asyncProperty(body, fc.constantFrom("/v1/completions", "/v1/chat/completions"), async (body, path) => {
        const { status, text } = await serving.post(path, { ...body, max_tokens: body.max_tokens ?? 2 });
        expect(status).toBeLessThan(500);
        if (status !== 200) expect(typeof JSON.parse(text).error.message).toBe("string");
      }),
      { seed: 3, numRuns: 150 },
    );
    expect((await serving.post("/v1/completions", { prompt: "Once", max_tokens: 1 })).status).toBe(200);
  });
});

describe("requests from other sites and machines", () => {
  let serving: Serving;
  beforeAll(async () => {
    serving = await Serving.start();
  });
  afterAll(() => serving.end());
  const port = () => new URL(serving.server.url).port;

  it.each(["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "0.0.0.0"])(
    "a foreign name that points here is refused (DNS rebinding): Host %j",
    async (Host) => {
      for (const path of ["/", "/health", "/v1/models"]) expect((await serving.get(path, { Host })).status).toBe(403);
    },
  );

  it("localhost and the loopback addresses are accepted, with any port", async () => {
    for (const Host of ["localhost", `localhost:${port()}`, "127.0.0.1", "[::1]:99"]) {
      expect((await serving.get("/v1/models", { Host })).status).toBe(200);
    }
  });

  it("pages of other sites are refused, also for posts that browsers send without a preflight", async () => {
    for (const Origin of ["https://evil.example", "null", "http://localhost:1"]) {
      expect((await serving.post("/v1/completions", { prompt: "" }, { Origin })).status).toBe(403);
    }
    const Origin = `http://127.0.0.1:${port()}`;
    expect((await serving.post("/v1/completions", { prompt: "", max_tokens: 1 }, { Origin })).status).toBe(200);
  });

  it("a server with a key refuses requests without it, and with it accepts any Host", async () => {
    const locked = await Serving.start({ apiKey: "secret" });
    const models = (headers: Record<string, string>) => locked.get("/v1/models", headers);
    for (const Authorization of ["", "Bearer", "Bearer secre", "Bearer secrets", "Basic secret"]) {
      const { status, json, headers } = await models({ Authorization });
      expect({ status, code: json.error.code }).toEqual({ status: 401, code: "invalid_api_key" });
      expect(headers["www-authenticate"]).toBe("Bearer");
    }
    expect((await models({ Authorization: "Bearer secret", Host: "stories.example" })).status).toBe(200);
    expect((await locked.get("/health")).status).toBe(200);
    await locked.end();
  });

  it("an address that other machines can reach is refused without a key", async () => {
    for (const host of ["0.0.0.0", "::", "192.0.2.1", "example.com"]) {
      await expect(StoryServer.listen([serving.model], { host, port: 0 })).rejects.toMatchObject({
        code: "E_USAGE",
        message: expect.stringContaining("api-key"),
      });
    }
  });

  it("invalid options are refused", async () => {
    for (const options of [{ port: -1 }, { slots: 0 }, { queue: 1.5 }, { apiKey: "" }, { hst: "x" }, { host: 5 }]) {
      await expect(StoryServer.listen([serving.model], options as never)).rejects.toMatchObject({ code: "E_USAGE" });
    }
    const { port } = new URL(serving.server.url);
    const taken = StoryServer.listen([serving.model], { port: Number(port) });
    await expect(taken).rejects.toMatchObject({
      code: "E_FILE",
      message: expect.stringContaining("the port is taken"),
    });
  });

  it("the page may load only this server's files", async () => {
    const { status, headers, text } = await serving.get("/");
    expect(status).toBe(200);
    expect(headers["content-security-policy"]).toMatch(/^default-src 'none'; script-src 'self'/);
    expect(headers["x-content-type-options"]).toBe("nosniff");
    for (const [, path] of text.matchAll(/(?:src|href)="(\/[^"]+)"/g))
      expect((await serving.get(path)).status).toBe(200);
    expect(text).not.toMatch(/\s(?:style|on\w+)=|<script>/);
  });
});

describe("more requests than there is room for", () => {
  const slow: Shape = [256, 704, 6, 8, 8, 300, 4000];
  const start = async (options: object) => {
    const model = await loadModel(checkpointFile(slow), { tokenizer: tokenizerFile(vocabOf(300)), backend: "ts" });
    return Serving.start(options, model);
  };
  const endless = { prompt: "a", max_tokens: 4000, temperature: 0, stream: true };

  /** Begins a stream, and resolves when something has come. */
  async function begin(serving: Serving): Promise<{ leave: () => void; ended: Promise<void> }> {
    const controller = new AbortController();
    const response = await fetch(`${serving.server.url}/v1/completions`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(endless),
      signal: controller.signal,
    });
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    const ended = (async () => {
      while (!(await reader.read()).done);
    })().catch(() => {});
    return { leave: () => controller.abort(), ended };
  }

  it("wait in a queue; when it is full they get 503; a client that leaves makes room", async () => {
    const serving = await start({ slots: 2, queue: 2 });
    const running = [await begin(serving), await begin(serving)];
    expect((await serving.get("/health")).json).toMatchObject({ status: "ok", running: 2, waiting: 0 });
    const short = { prompt: "a", max_tokens: 1, temperature: 0 };
    const waiting = [serving.post("/v1/completions", short), serving.post("/v1/completions", short)];
    while ((await serving.get("/health")).json.waiting < 2);
    const { status, headers, json } = await serving.post("/v1/completions", short);
    expect({ status, retry: headers["retry-after"], code: json.error.code }).toEqual({
      status: 503,
      retry: "1",
      code: "queue_full",
    });
    running[0].leave();
    for (const answered of await Promise.all(waiting)) expect(answered.status).toBe(200);
    running[1].leave();
    while ((await serving.get("/health")).json.running > 0);
    await serving.end();
  });

  it("a client that leaves while it waits makes room in the queue, and its request never runs", async () => {
    const serving = await start({ slots: 1, queue: 1 });
    const { leave } = await begin(serving);
    const controller = new AbortController();
    const impatient = fetch(`${serving.server.url}/v1/completions`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(endless),
      signal: controller.signal,
    });
    while ((await serving.get("/health")).json.waiting < 1);
    controller.abort();
    await expect(impatient).rejects.toThrow();
    while ((await serving.get("/health")).json.waiting > 0);
    const patient = serving.post("/v1/completions", { prompt: "a", max_tokens: 1, temperature: 0 });
    while ((await serving.get("/health")).json.waiting < 1);
    leave();
    expect((await patient).status).toBe(200);
    expect((await serving.get("/health")).json).toMatchObject({ running: 0, waiting: 0 });
    await serving.end();
  });

  it("of 100 requests at once, those admitted are answered in full, and the others with 503", async () => {
    const warnings: Error[] = [];
    const warn = (warning: Error) => warnings.push(warning);
    process.on("warning", warn);
    const serving = await Serving.start({ slots: 4, queue: 16 });
    const body = { prompt: "Once upon a time", temperature: 0, max_tokens: 4 };
    const all = await Promise.all(Array.from({ length: 100 }, () => serving.post("/v1/completions", body)));
    const [done, refused] = [200, 503].map((status) => all.filter((answered) => answered.status === status));
    expect(done.length + refused.length).toBe(100);
    expect(done.length).toBeGreaterThanOrEqual(20);
    expect(done.every(({ json }) => json.choices[0].text === ", there was a")).toBe(true);
    await serving.end();
    process.off("warning", warn);
    expect(warnings).toEqual([]);
  });

  it("a client that does not read its stream is dropped after a while, and its slot is freed", async () => {
    const idle = createServer((_, response) => {
      response.write(Buffer.alloc(1 << 26)); // more than any socket holds
      drained(response, 50).then(() => response.emit("given up"));
      response.on("given up", () => idle.close());
    });
    const ended = once(idle, "close");
    idle.listen(0, "127.0.0.1");
    await once(idle, "listening");
    const client = connect((idle.address() as AddressInfo).port, "127.0.0.1")
      .pause()
      .on("error", () => {});
    client.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await ended;
    client.destroy();
  });

  it("a request for more texts than there are slots runs by itself", async () => {
    const serving = await Serving.start({ slots: 2 });
    const { json } = await serving.post("/v1/completions", { prompt: "Once", n: 5, seed: 1, max_tokens: 2 });
    expect(json.choices.length).toBe(5);
    await serving.end();
  });

  it("a client that leaves does not affect the others", async () => {
    const serving = await Serving.start();
    const body = { prompt: "Once", seed: 8, max_tokens: 120 };
    const alone = (await serving.post("/v1/completions", body)).json.choices;
    const others = Array.from({ length: 6 }, () =>
      fetch(`${serving.server.url}/v1/completions`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ prompt: "Tom", max_tokens: 400, stream: true }),
      }),
    );
    const mine = serving.post("/v1/completions", body);
    for (const other of others) await (await other).body?.cancel();
    expect((await mine).json.choices).toEqual(alone);
    await serving.end();
  });

  it("draining finishes running requests, accepts no new ones, and has a time limit", async () => {
    const serving = await Serving.start();
    const body = { prompt: "Once", seed: 8, max_tokens: 200 };
    const expected = (await serving.post("/v1/completions", body)).json.choices;
    const running = serving.post("/v1/completions", body);
    while ((await serving.get("/health")).json.running === 0);
    const draining = serving.server.drain();
    expect((await running).json.choices).toEqual(expected);
    await draining;
    await expect(serving.get("/health")).rejects.toThrow();
    await serving.model.dispose();

    const half = await Serving.start();
    const client = connect(Number(new URL(half.server.url).port), "127.0.0.1").on("error", () => {});
    client.write("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n");
    await once(client, "connect");
    const hung = new Promise((resolve) => client.on("close", resolve));
    await half.server.drain(60_000); // half a request is not waited for
    await hung;
    await half.model.dispose();

    const slowly = await start({});
    const { ended } = await begin(slowly);
    await slowly.server.drain(50);
    await ended;
    await slowly.model.dispose();
  });
});
