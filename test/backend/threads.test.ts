import { expect, it } from "vitest";
import { processors } from "../../src/backend/processors.ts";
import { threadsFor } from "../../src/backend/threads.ts";
import { SHAPES } from "../helpers/checkpoint.ts";
import { randomModel } from "../helpers/sources.ts";

const TABLE = 512 * 48;
const NORMS = 7 * 48;
const LAYERS = 3 * (2 * 48 * 48 + 2 * 16 * 48 + 3 * 48 * 128);
const MET = TABLE + NORMS + LAYERS;

it.skipIf(processors() < 2)("counts the weights that every token uses, and a table of rows once", () => {
  for (const untied of [false, true]) {
    const source = randomModel(SHAPES.gqa, { untied });
    expect(threadsFor(source, MET / 2)).toBe(2);
    expect(threadsFor(source, MET / 2 + 1)).toBe(1);
  }
});

it("one thread for a model too small for two, and never more than the process has processors", () => {
  const source = randomModel(SHAPES.tiny);
  expect(threadsFor(source, 1e6)).toBe(1);
  expect(threadsFor(source, 1)).toBe(processors());
});
