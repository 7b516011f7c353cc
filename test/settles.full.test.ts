import { describe, expect, it } from "vitest";
import { doBoth, NAMES, WELL } from "./helpers/deeds.ts";

describe.each(NAMES)("%s", (first) => {
  it.each(NAMES)("and %s, at once or later: all promises settle", async (second) => {
    expect(await doBoth(first, second, 0)).toEqual(WELL);
    expect(await doBoth(first, second, 30)).toEqual(WELL);
  });
});
