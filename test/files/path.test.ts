import { basename, resolve, sep } from "node:path";
import { describe, expect, it } from "vitest";
import { modelName } from "../../src/files/modelName.ts";
import { pathOf } from "../../src/files/path.ts";

describe("a path that a caller gave", () => {
  it.each(["model.bin", "a/model.bin", "./model.bin", "../model", "a.", "...", ".hidden", ""])(
    "%j is as it is",
    (path) => {
      expect(pathOf("the model", path)).toBe(path);
    },
  );

  it.each([".", "..", "./", "a/..", "a/.", `a${sep}..${sep}`])("%j is what it leads to, which has a name", (path) => {
    expect(pathOf("the model", path)).toBe(resolve(path));
    expect(modelName(pathOf("the model", path))).toBe(basename(resolve(path)));
  });
});
