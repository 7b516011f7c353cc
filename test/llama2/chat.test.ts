import { expect, it } from "vitest";
import { renderPrompt } from "../../src/llama2/chat.ts";

it("wraps a user's text as Llama 2's chat models know it", () => {
  expect(renderPrompt("Hi!")).toBe("[INST] Hi! [/INST]");
});

it("puts a system prompt before the user's text", () => {
  expect(renderPrompt("Hi!", "Be kind.")).toBe("[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi! [/INST]");
});
