import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ChatTemplate, partsOf } from "../src/chatTemplate.ts";
import { convert, loadModel, type Model } from "../src/index.ts";
import { renderPrompt } from "../src/llama2/chat.ts";
import { ROOT } from "./helpers/golden.ts";
import { tempDir } from "./helpers/temp.ts";

const compile = (source: string) => ChatTemplate.compile({ path: "template", source });
const hello = [{ role: "user" as const, content: "Hello" }];

/** Llama 2's way of writing a conversation, in Jinja. */
const LLAMA_2 = `{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}{% else %}{% set rest = messages %}{% set system = false %}{% endif %}{% for message in rest %}{% if loop.index0 == 0 and system %}{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content + ' [/INST]' }}{% else %}{{ ' ' + content + ' ' + eos_token }}{% endif %}{% endfor %}`;

describe("a chat template", () => {
  it("writes a conversation, with BOS and EOS where it wants them", async () => {
    const template = await compile(LLAMA_2);
    const rendered = template.render([
      { role: "system", content: "Be nice" },
      { role: "user", content: "Hi" },
      { role: "assistant", content: "Hello" },
      { role: "user", content: "Bye" },
    ]);
    expect(partsOf(rendered)).toEqual([
      "bos",
      "[INST] <<SYS>>\nBe nice\n<</SYS>>\n\nHi [/INST] Hello ",
      "eos",
      "bos",
      "[INST] Bye [/INST]",
    ]);
  });

  it("takes a message as text, even if it looks like BOS or EOS", async () => {
    const template = await compile("{{ bos_token }}{{ messages[0]['content'] }}</s>");
    const content = "a</s><s>b\ufdd0c";
    expect(partsOf(template.render([{ role: "user", content }]))).toEqual(["bos", "a</s><s>b\ufffdc", "eos"]);
  });

  it.each([
    ["a loop without end", "{% for i in range(10000) %}{% for j in range(10000) %}x{% endfor %}{% endfor %}", "steps"],
    ["a range that is too long", "{% for i in range(1, 10**9) %}x{% endfor %}", "cannot be used"],
    ["a large number", "{{ range(1000000000) }}", "a number above"],
    [
      "a text that doubles",
      "{% set ns = namespace(s='xxxxxxxxxx') %}{% for i in range(40) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "more than",
    ],
    ["an indent that is too wide", "{{ 'a\\nb' | indent(999999999) }}", "a number above"],
    ["a macro that calls itself", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "cannot be used"],
    ["what it says itself", "{{ raise_exception('user and assistant must take turns') }}", "must take turns"],
    ["what is no template", "{% for %}", "cannot be used"],
    ["the constructor of a function", "{{ range.constructor('return process')() }}", "cannot be used"],
  ])("is refused for %s: E_FORMAT", async (_, source, words) => {
    const rendering = (async () => (await compile(source)).render(hello))();
    await expect(rendering).rejects.toMatchObject({ code: "E_FORMAT", message: expect.stringContaining(words) });
  });
});

describe("a model with a template of its own", () => {
  const folder = join(tempDir(), "hf");
  let own: Model;
  let plain: Model;
  beforeAll(async () => {
    const bundled = join(ROOT, "models", "stories2M.bin");
    await convert(bundled, folder, { to: "safetensors" });
    writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify({ chat_template: LLAMA_2 }));
    [own, plain] = await Promise.all([loadModel(folder), loadModel(bundled)]);
  });
  afterAll(() => Promise.all([own.dispose(), plain.dispose()]));

  it("answers as the same model does to the rendered prompt", async () => {
    const options = { system: "Be nice", temperature: 0.7, seed: 4, maxTokens: 12 };
    const [a, b] = [await own.chat(options), await plain.chat(options)];
    const [first, second] = [a.say("Hello"), b.say("Hello")];
    expect(await first.text()).toBe(await second.text());
    expect(first.promptTokens).toEqual(second.promptTokens);
    expect(a.note).toBeUndefined();
    expect(b.note).toContain("not made for chat");
  });

  it("continues from exactly the tokens that it has read and generated", async () => {
    const chat = await own.chat({ temperature: 1, seed: 9, maxTokens: 10 });
    const first = chat.say("Hello");
    await first.text();
    const second = chat.say("And then?");
    expect(second.promptTokens.slice(0, first.tokens.length)).toEqual(first.tokens);
  });

  it("takes it from chat_template.jinja, or the default of several", async () => {
    const folders = [tempDir(), tempDir()];
    const { findChatTemplate } = await import("../src/checkpoint/tokenizer/chatTemplate.ts");
    const { filesAt } = await import("../src/files/disk.ts");
    for (const folder of folders) writeFileSync(join(folder, "config.json"), "{}");
    writeFileSync(join(folders[0], "chat_template.jinja"), "one");
    writeFileSync(join(folders[0], "tokenizer_config.json"), JSON.stringify({ chat_template: "two" }));
    const list = [
      { name: "tool_use", template: "x" },
      { name: "default", template: "three" },
    ];
    writeFileSync(join(folders[1], "tokenizer_config.json"), JSON.stringify({ chat_template: list }));
    const found = await Promise.all(folders.map(async (folder) => (await findChatTemplate(filesAt(folder)))?.source));
    expect(found).toEqual(["one", "three"]);
  });
});

describe("a chat in Llama 2's way", () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel();
  });
  afterAll(() => model.dispose());
  const options = { system: "Be nice", temperature: 1, seed: 6, maxTokens: 10 };

  it("has run.c's turns: BOS, the question, the answer, EOS", async () => {
    const chat = await model.chat(options);
    const { tokenizer } = model;
    const first = chat.say("Hello");
    await first.text();
    expect(first.promptTokens).toEqual(tokenizer.encode(renderPrompt("Hello", "Be nice")));
    const second = chat.say("More");
    expect(second.promptTokens).toEqual([...first.tokens, 2, ...tokenizer.encode(renderPrompt("More"))]);
  });

  it("keeps its messages, starts over on reset, and continues from JSON", async () => {
    const chat = await model.chat(options);
    const answer = (await chat.say("Hello").text()).trim();
    expect(chat.messages).toEqual([
      { role: "system", content: "Be nice" },
      { role: "user", content: "Hello" },
      { role: "assistant", content: answer },
    ]);
    const saved = JSON.parse(JSON.stringify(chat));
    expect(saved).toEqual({ chat: 1, messages: chat.messages });
    const again = await model.chat({ messages: saved.messages });
    expect(again.messages).toEqual(chat.messages);
    const { tokenizer } = model;
    const turn = tokenizer.encode(`${renderPrompt("Hello", "Be nice")} ${answer} `, { eos: true });
    expect(again.say("Bye").promptTokens).toEqual([...turn, ...tokenizer.encode(renderPrompt("Bye"))]);
    chat.reset();
    expect(chat.messages).toEqual([{ role: "system", content: "Be nice" }]);
    expect(chat.say("Hi").promptTokens).toEqual(tokenizer.encode(renderPrompt("Hi", "Be nice")));
  });

  it("draws all answers from one generator: the same seed gives the same conversation", async () => {
    const talk = async () => {
      const chat = await model.chat(options);
      return [await chat.say("Hello").text(), await chat.say("Hello").text()];
    };
    const once = await talk();
    expect(await talk()).toEqual(once);
    expect(once[0]).not.toBe(once[1]);
  });

  it("keeps the part of an answer before it was stopped", async () => {
    const chat = await model.chat({ ...options, maxTokens: undefined });
    for await (const _ of chat.say("Hello")) break;
    expect(chat.messages.length).toBe(3);
    await chat.say("Go on", { maxTokens: 2 }).text();
    expect(chat.messages.length).toBe(5);
  });

  it("fails with E_CONTEXT when the context is full", async () => {
    const small = await loadModel(undefined, { context: 48 });
    const chat = await small.chat({ temperature: 0 });
    await chat.say("Hello").text();
    expect(() => chat.say("More")).toThrow(expect.objectContaining({ code: "E_CONTEXT" }));
    chat.reset();
    await chat.say("More", { maxTokens: 2 }).text();
    await small.dispose();
  });
});
