import { beforeAll, describe, expect, it } from "vitest";
import type { LoadedModel } from "../../src/backend/backend.ts";
import { ts } from "../../src/backend/ts/ts.ts";
import { wasm } from "../../src/backend/wasm/wasm.ts";
import type { SequenceRequest } from "../../src/run/protocol.ts";
import type { Shape } from "../helpers/checkpoint.ts";
import { type Disguise, Disguised, DrivenScheduler } from "../helpers/drivenScheduler.ts";
import { changed, randomModel } from "../helpers/sources.ts";

const shape: Shape = [16, 40, 2, 4, 2, 64, 200];
let model: LoadedModel;
beforeAll(async () => {
  model = await wasm.load(randomModel(shape), 200, { threads: 1 });
});

function driven(disguise: Disguise = {}, slots = 8) {
  const disguised = new Disguised(model, disguise);
  return { disguised, scheduler: new DrivenScheduler(disguised, 64, slots) };
}
const request = (tokens: number[], maxTokens: number, state = 1n): SequenceRequest => {
  return { tokens, maxTokens, stops: [], sampling: { temperature: 1, topP: 0.9, state }, want: "tokens" };
};
const prompt = (length: number, step = 7) => Array.from({ length }, (_, i) => (i === 0 ? 1 : (i * step + 3) % 64));
const sum = (numbers: readonly number[]) => numbers.reduce((all, n) => all + n, 0);

describe("reading prompts", () => {
  it("a prompt is read once for many sequences, except its last token", () => {
    const { disguised, scheduler } = driven();
    scheduler.scheduler.add(
      0,
      [1n, 2n, 3n, 4n, 5n].map((state) => request(prompt(30), 2, state)),
    );
    scheduler.runToEnd();
    expect(sum(disguised.passes)).toBe(29 + 5 + 5); // each reads the last prompt token, and the first new one
  });

  it("a repeated prompt is not read again, except its last token", () => {
    const { disguised, scheduler } = driven();
    for (const id of [0, 1]) {
      scheduler.scheduler.add(id, [request(prompt(30), 1)]);
      scheduler.runToEnd();
    }
    expect(sum(disguised.passes)).toBe(30 + 1);
    expect(scheduler.of(1).tokens).toEqual(scheduler.of(0).tokens);
  });

  it("a chat's next turn reads only the new tokens, also after another chat's turn", () => {
    const { disguised, scheduler } = driven();
    const chats = [prompt(30), prompt(30, 11)];
    for (const [id, tokens] of chats.entries()) {
      scheduler.scheduler.add(id, [request(tokens, 5)]);
      scheduler.runToEnd();
    }
    const before = sum(disguised.passes);
    for (const [id, tokens] of chats.entries()) {
      const next = [...tokens, ...scheduler.of(id).tokens, 9, 8, 7];
      scheduler.scheduler.add(2 + id, [request(next, 1)]);
      scheduler.runToEnd();
    }
    expect(sum(disguised.passes) - before).toBe(2 * 4); // the newest token of each answer had not been read
  });

  it("sequences of different requests share passes", () => {
    const { disguised, scheduler } = driven();
    for (const id of [0, 1, 2]) scheduler.scheduler.add(id, [request(prompt(1 + id, 5 + id), 10, BigInt(id + 1))]);
    scheduler.runToEnd();
    expect(disguised.passes.length).toBe(10);
  });
});

describe("fairness", () => {
  it("every live sequence gets a token in each pass while a long prompt is read in pieces", () => {
    const { disguised, scheduler } = driven({ maxBatch: 8 });
    scheduler.scheduler.add(0, [request([1], 100)]);
    for (let i = 0; i < 3; i++) scheduler.step();
    scheduler.scheduler.add(1, [request(prompt(150), 1)]);
    for (let i = 0; i < 20; i++) {
      const before = scheduler.of(0).tokens.length;
      scheduler.step();
      expect(scheduler.of(0).tokens.length).toBe(before + 1);
    }
    expect(Math.max(...disguised.passes)).toBe(8);
  });

  it("sequences take turns when a pass has room for one token only", () => {
    const { scheduler } = driven({ maxBatch: 1 });
    for (const id of [0, 1]) scheduler.scheduler.add(id, [request([1], 10)]);
    for (let i = 0; i < 10; i++) scheduler.step();
    expect([0, 1].map((id) => scheduler.of(id).tokens.length)).toEqual([5, 5]);
  });

  it("a request for many sequences leaves slots to others", () => {
    const { scheduler } = driven({ maxBatch: 4 });
    scheduler.scheduler.add(
      0,
      Array.from({ length: 50 }, (_, k) => request([1], 20, BigInt(k + 1))),
    );
    for (let i = 0; i < 5; i++) scheduler.step();
    scheduler.scheduler.add(1, [request([1], 2)]);
    for (let i = 0; i < 6; i++) scheduler.step();
    expect(scheduler.of(1).last?.ended).toBe("length");
  });

  it.each([undefined, 4])(
    "one sequence of a request can be ended, and its slot goes to the next (chunk %s)",
    (chunk) => {
      const { scheduler } = driven({ chunk }, 2);
      scheduler.scheduler.add(0, [request([1], 100), request([1, 5], 30), request([1, 7], 3)]);
      for (let i = 0; i < 6; i++) scheduler.step();
      scheduler.scheduler.end(0, 0);
      scheduler.scheduler.end(0, 2); // not yet begun: nothing happens
      const ended = scheduler.of(0, 0);
      expect(ended.last?.ended).toBe("stop");
      expect(ended.tokens.length).toBeLessThan(100);
      scheduler.runToEnd();
      expect(scheduler.of(0, 0).tokens.length).toBe(ended.tokens.length);
      expect([1, 2].map((k) => scheduler.of(0, k).tokens.length)).toEqual([30, 3]);
      expect([1, 2].map((k) => scheduler.of(0, k).last?.ended)).toEqual(["length", "length"]);
    },
  );

  it("a cancelled request gives its slot to the next at once", () => {
    const { scheduler } = driven({}, 1);
    scheduler.scheduler.add(0, [request([1], 100)]);
    scheduler.step();
    scheduler.scheduler.add(1, [request([1, 5], 3)]);
    scheduler.step();
    expect(scheduler.of(1).tokens).toEqual([]);
    scheduler.cancel(0);
    scheduler.step();
    expect(scheduler.of(1).tokens.length).toBe(1);
  });
});

describe("failures", () => {
  it("a row with a NaN ends its own sequence only", async () => {
    // the embedding of token 9 is NaN, and nothing else is
    const broken = changed(randomModel(shape, { untied: true }), (piece, name) => {
      if (name !== "tokenEmbeddingTable" || !("values" in piece)) return piece;
      const isBroken = (i: number) => Math.floor((piece.offset + i) / 16) === 9;
      return { ...piece, values: piece.values.map((value, i) => (isBroken(i) ? NaN : value)) };
    });
    for (const chunk of [undefined, 4]) {
      const disguised = new Disguised(await ts.load(broken, 200, { threads: 1 }), { chunk });
      const scheduler = new DrivenScheduler(disguised, 64, 4);
      const greedy = (tokens: number[]) => ({
        ...request(tokens, 5),
        sampling: { temperature: 0, topP: 0, state: 1n },
      });
      scheduler.scheduler.add(0, [greedy([1, 5]), greedy([1, 9]), greedy([1, 7])]);
      scheduler.runToEnd();
      expect(scheduler.of(0, 0).last?.ended).toBe("length");
      expect(scheduler.of(0, 1).last).toMatchObject({ ended: "failed", error: { code: "E_NUMERIC" } });
      expect(scheduler.of(0, 1).last?.error?.message).toContain("after position 1");
      expect(scheduler.of(0, 2).last?.ended).toBe("length");
    }
  });

  it("a pass that fails ends every live sequence, and the next request works", () => {
    const { disguised, scheduler } = driven();
    scheduler.scheduler.add(0, [request([1], 10), request([1, 5], 10)]);
    scheduler.step();
    disguised.fail = new Error("the device is on fire");
    scheduler.step();
    disguised.fail = undefined;
    scheduler.runToEnd();
    for (const k of [0, 1]) expect(scheduler.of(0, k).last?.error?.message).toBe("the device is on fire");
    scheduler.scheduler.add(1, [request([1], 3)]);
    scheduler.runToEnd();
    expect(scheduler.of(1).tokens.length).toBe(3);
  });

  it("if a context for all slots does not fit, a smaller one is used", () => {
    const { disguised, scheduler } = driven({ room: 3 });
    scheduler.scheduler.add(
      0,
      Array.from({ length: 9 }, (_, k) => request([1], 4, BigInt(k + 1))),
    );
    scheduler.runToEnd();
    expect(disguised.passes.every((entries) => entries <= 3)).toBe(true);
    for (let k = 0; k < 9; k++) expect(scheduler.of(0, k).tokens.length).toBe(4);
  });
});

describe("reports", () => {
  it("are as frequent while other requests wait", () => {
    const { scheduler } = driven({}, 2).scheduler;
    for (let id = 0; id < 100; id++) scheduler.add(id, [request(prompt(5, id + 1), 40)]);
    scheduler.step();
    expect(scheduler.reporting).toBe(2);
  });

  it("are complete, although results that nobody waits for are delivered later", () => {
    const { scheduler: driver } = driven();
    const { scheduler } = driver;
    scheduler.add(0, [request(prompt(5), 40)]);
    scheduler.step();
    expect(scheduler.take(true).map(({ id }) => id)).toEqual([0]); // its first token
    scheduler.step();
    scheduler.add(1, [request(prompt(6), 40)]);
    scheduler.step();
    expect(scheduler.take(true).map(({ id }) => id)).toEqual([1]);
    scheduler.step();
    expect(scheduler.take(true)).toEqual([]);
    expect(scheduler.take().map(({ id, slices }) => [id, slices[0].tokens.length])).toEqual([
      [0, 3],
      [1, 1],
    ]);
  });
});
