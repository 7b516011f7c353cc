import { describe, expect, it } from "vitest";
import { doBoth, NAMES, WELL } from "./helpers/deeds.ts";

describe("a model that is disposed during a request", () => {
  it.each(NAMES)("%s settles, and so does dispose", async (first) => {
    expect(await doBoth(first, "dispose", 30)).toEqual(WELL);
  });
});

it("a process lives exactly as long as its requests", async () => {
  expect(await doBoth("generate", "score", 0)).toEqual(WELL);
});
