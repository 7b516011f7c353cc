/*
 * What travels to a bare box.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { filesOf, gather, LIMIT, tooLarge } from "../../scripts/gpu-pack.mjs";
import { tempDir } from "../helpers/temp.ts";

it("refuses a bundle that is too large, and names what is largest", () => {
  const file = (path: string, bytes: number) => ({ path, bytes });
  expect(tooLarge([file("a", LIMIT)])).toBeUndefined();
  const why = tooLarge([
    file("small", 10),
    file("build-gpu/node.gz", 50 * 2 ** 20),
    file("models/m.bin", 11 * 2 ** 20),
  ]);
  expect(why).toMatch(
    /^61\.0 MiB, 60\.0 at most; the largest:\n {2}build-gpu\/node\.gz 50\.0\n {2}models\/m\.bin 11\.0/,
  );
});

it("brings along what is there, and says what is not", () => {
  const bundle = join(tempDir(), "bundle");
  const shared = join(tempDir(), "shared");
  mkdirSync(join(shared, "models"), { recursive: true });
  writeFileSync(join(shared, "models", "stories260K.bin"), "model");
  const peer = join(tempDir(), "their-program");
  writeFileSync(peer, "#!");
  const missing = gather(bundle, shared, { node: false, peers: [peer] });
  expect(missing.some((path) => path.endsWith("generate-stories260K.json"))).toBe(true);
  const files = filesOf(bundle).map(({ path }) => path);
  expect(files).toContain("shared/models/stories260K.bin");
  expect(files).toContain("peers/their-program");
  expect(files).toContain("app/package.json");
  expect(existsSync(join(bundle, "node.gz"))).toBe(false);
  expect(() => gather(bundle, shared, { node: false, peers: [join(shared, "none")] })).toThrow("no such file");
});
