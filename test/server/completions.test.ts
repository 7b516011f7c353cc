/*
 * /v1/completions and /v1/chat/completions: the answers are the library's results.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Receipt, verify } from "../../src/index.ts";
import { eventsOf, Serving } from "../helpers/storyServer.ts";

let serving: Serving;
beforeAll(async () => {
  serving = await Serving.start();
});
afterAll(() => serving.end());

const greedy = { temperature: 0, max_tokens: 4 };
const complete = (body: object) => serving.post("/v1/completions", body);
const chat = (body: object) => serving.post("/v1/chat/completions", body);

describe("/v1/completions", () => {
  it("continues a prompt", async () => {
    const { status, json } = await complete({ model: "stories2M", prompt: "Once upon a time", ...greedy });
    expect({ status, json }).toEqual({
      status: 200,
      json: {
        id: expect.stringMatching(/^cmpl-[0-9a-f]{32}$/),
        object: "text_completion",
        created: expect.any(Number),
        model: "stories2M",
        system_fingerprint: expect.stringMatching(/^fp_[0-9a-f]{16}$/),
        choices: [{ text: ", there was a", index: 0, logprobs: null, finish_reason: "length" }],
        usage: { prompt_tokens: 5, completion_tokens: 4, total_tokens: 9 },
      },
    });
  });

  it("takes many prompts, as texts or tokens, and n choices of each: choice i of prompt j has index j n + i, seed + i", async () => {
    const prompts = ["Once", "Lily found"];
    const body = { prompt: prompts, n: 3, seed: 5, max_tokens: 8, top_p: 0.9 };
    const { json } = await complete(body);
    for (const [j, prompt] of prompts.entries()) {
      for (let i = 0; i < 3; i++) {
        const alone = await serving.model.generate(prompt, { seed: 5 + i, maxTokens: 8, topP: 0.9 }).text();
        expect(json.choices[3 * j + i]).toMatchObject({ index: 3 * j + i, text: alone });
      }
    }
    expect(json.usage.completion_tokens).toBe(6 * 8);
    const tokens = prompts.map((prompt) => serving.model.encodePrompt(prompt));
    expect((await complete({ ...body, prompt: tokens })).json.choices).toEqual(json.choices);
    expect((await complete({ ...body, prompt: tokens[0] })).json.choices).toEqual(json.choices.slice(0, 3));
  });

  it("has the API's defaults: temperature 1, top_p 1, one choice, no limit of tokens", async () => {
    const { json } = await complete({ prompt: "Once", seed: 9 });
    const alone = await serving.model.generate("Once", { seed: 9, temperature: 1, topP: 1 }).text();
    expect(json.choices.map(({ text }: { text: string }) => text)).toEqual([alone]);
  });

  it("streams the text of each slice, then the usage if asked for, then [DONE]", async () => {
    const body = { prompt: ["Once", "Tom"], seed: 3, n: 2, max_tokens: 30 };
    const { json } = await complete(body);
    const { headers, text } = await complete({ ...body, stream: true, stream_options: { include_usage: true } });
    expect(headers["content-type"]).toBe("text/event-stream; charset=utf-8");
    const events = eventsOf(text);
    const texts = ["", "", "", ""];
    for (const { choices } of events) for (const { index, text } of choices) texts[index] += text;
    expect(texts).toEqual(json.choices.map(({ text }: { text: string }) => text));
    const ends = events.flatMap(({ choices }) => choices).filter(({ finish_reason }) => finish_reason !== null);
    expect(ends.map(({ index }) => index).sort()).toEqual([0, 1, 2, 3]);
    expect(events.at(-1)).toMatchObject({ choices: [], usage: json.usage });
    expect(events.slice(0, -1).every(({ usage }) => usage === null)).toBe(true);
    expect(new Set(events.map(({ id }) => id)).size).toBe(1);
    expect(eventsOf((await complete({ ...body, stream: true })).text).at(-1).usage).toBeUndefined();
  });

  it("lists tokens with log-probabilities, with echo also the prompt's, except BOS", async () => {
    const body = { prompt: "Once upon a time", ...greedy, logprobs: 2, echo: true };
    const { json } = await complete(body);
    const [{ text, logprobs }] = json.choices;
    expect(text).toBe("Once upon a time, there was a");
    expect(logprobs.tokens).toEqual([" Once", " upon", " a", " time", ",", " there", " was", " a"]);
    const scored = await serving.model.score(serving.model.tokenizer.encode(text));
    for (const [i, { logprob }] of scored.entries()) expect(logprobs.token_logprobs[i]).toBeCloseTo(logprob, 9);
    expect(logprobs.top_logprobs.map((top: object) => Object.keys(top).length)).toEqual(new Array(8).fill(2));
    expect(logprobs.text_offset.length).toBe(8);
    const streamed = eventsOf((await complete({ ...body, stream: true })).text);
    const tokens = streamed.flatMap(({ choices }) => choices[0].logprobs.tokens);
    expect(tokens).toEqual(logprobs.tokens);
  });

  it("scores a text alone: echo, logprobs, no new tokens", async () => {
    const { json } = await complete({ prompt: "Once upon a time", max_tokens: 0, echo: true, logprobs: 0 });
    const [{ text, logprobs, finish_reason }] = json.choices;
    expect({ text, finish_reason, tokens: logprobs.tokens.length }).toEqual({
      text: "Once upon a time",
      finish_reason: "length",
      tokens: 4,
    });
    expect(json.usage).toEqual({ prompt_tokens: 5, completion_tokens: 0, total_tokens: 5 });
  });

  it("ends at stop strings, which are not part of the text, and where the model ends the sequence", async () => {
    const { json } = await complete({ prompt: "Lily found a red ball", temperature: 0, stop: ["."] });
    expect(json.choices[0].text).not.toContain(".");
    expect(json.choices[0].finish_reason).toBe("stop");
    expect((await complete({ prompt: "Once", temperature: 0 })).json.choices[0].finish_reason).toBe("stop");
  });

  it("gives a receipt, which verifies", async () => {
    const { json } = await complete({ prompt: "Once", seed: 4, max_tokens: 12, receipt: true });
    expect((await verify(json.receipt as Receipt, serving.model)).same).toBe(true);
    const several = await complete({ prompt: "Once", seed: 4, max_tokens: 3, n: 2, receipt: true, stream: true });
    expect(
      eventsOf(several.text)
        .at(-1)
        .receipt.map(({ seed }: Receipt) => seed),
    ).toEqual(["4", "5"]);
  });

  it("accepts seeds of 64 bits as text", async () => {
    const { json } = await complete({ prompt: "Once", seed: "18446744073709551615", max_tokens: 3, receipt: true });
    expect(json.receipt.seed).toBe("18446744073709551615");
  });
});

describe("/v1/chat/completions", () => {
  const messages = [
    { role: "system", content: "Be nice" },
    { role: "user", content: "Hello" },
  ];

  it("answers as the library's chat does", async () => {
    const { status, json } = await chat({ messages, seed: 6, max_completion_tokens: 10, top_p: 0.9 });
    const own = await serving.model.chat({ system: "Be nice", seed: 6, topP: 0.9, maxTokens: 10 });
    const answer = await own.say("Hello").text();
    expect(status).toBe(200);
    expect(json).toMatchObject({
      id: expect.stringMatching(/^chatcmpl-/),
      object: "chat.completion",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: answer.replace(/^ /, ""), refusal: null },
          logprobs: null,
          finish_reason: "length",
        },
      ],
    });
    const parts = [
      { type: "text", text: "Hel" },
      { type: "text", text: "lo" },
    ];
    const again = [messages[0], { role: "user", content: parts }];
    const same = await chat({ messages: again, seed: 6, max_tokens: 10, top_p: 0.9 });
    expect(same.json.choices).toEqual(json.choices);
  });

  it("streams deltas, the first with the role", async () => {
    const body = { messages, seed: 6, max_tokens: 12, n: 2 };
    const { json } = await chat(body);
    const events = eventsOf((await chat({ ...body, stream: true })).text);
    expect(events.every(({ object }) => object === "chat.completion.chunk")).toBe(true);
    const texts = ["", ""];
    const roles = [0, 0];
    for (const { choices } of events) {
      for (const { index, delta } of choices) {
        texts[index] += delta.content ?? "";
        if (delta.role === "assistant") roles[index]++;
      }
    }
    expect(texts).toEqual(json.choices.map(({ message }: { message: { content: string } }) => message.content));
    expect(roles).toEqual([1, 1]);
  });

  it("returns log-probabilities with alternatives and bytes", async () => {
    const { json } = await chat({ messages, temperature: 0, max_tokens: 2, logprobs: true, top_logprobs: 2 });
    const { content } = json.choices[0].logprobs;
    expect(content.length).toBe(2);
    for (const { token, logprob, bytes, top_logprobs } of content) {
      expect(Buffer.from(bytes).toString()).toBe(token);
      expect(top_logprobs[0]).toEqual({ token, logprob, bytes });
      expect(top_logprobs.length).toBe(2);
    }
  });
});
