import { describe, expect, it } from "vitest";
import { doBoth, NAMES, WELL } from "./helpers/deeds.ts";

describe("a model that is disposed while something runs", () => {
  it.each(NAMES)("%s settles, and so does dispose", async (first) => {
    expect(await doBoth(first, "dispose", 30)).toEqual(WELL);
  });
});

it("a process lives as long as its requests run, and no longer", async () => {
  expect(await doBoth("generate", "score", 0)).toEqual(WELL);
});
