/*
 * Which backend runs: a named one or none; the best that works for `auto`, with a reason for each that does not.
 */
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { ADDON_PATH, loadAddon } from "../../src/backend/cpu/addon.ts";
import { load } from "../../src/backend/load.ts";
import { mostThreads } from "../../src/backend/processors.ts";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { hasAddon, needsAddon, withIsa } from "../helpers/backends.ts";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.ts";
import { runScript } from "../helpers/child.ts";
import { ROOT } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

const source = await openFile(checkpointFile(SHAPES.tiny));

it("ts runs when it is named", async () => {
  const { backend, model, notes } = await load(source, "ts", 0, 0);
  expect({ backend, threads: model.threads, notes }).toEqual({ backend: "ts", threads: 1, notes: [] });
});

it("ts says that it runs on one thread if asked for more", async () => {
  expect(await load(source, "ts", 0, 4)).toMatchObject({
    model: { threads: 1 },
    notes: ["the ts backend runs on one thread"],
  });
});

describe.skipIf(!hasAddon)(`with the native addon${needsAddon}`, () => {
  it("takes the number of threads that is asked for, or chooses one by the model's size", async () => {
    const loaded = await load(source, "cpu", 0, mostThreads());
    expect(loaded).toMatchObject({ model: { threads: mostThreads() }, notes: [] });
    expect(await load(source, "cpu", 0, 0)).toMatchObject({ model: { threads: 1 }, notes: [] });
  });

  it.each(["cpu", "wasm"] as const)("%s takes no more threads than there are processors, and says so", async (name) => {
    const most = mostThreads();
    const note = `100 threads are more than this process has processors for: it runs on ${most}`;
    expect(await load(source, name, 0, 100)).toMatchObject({ model: { threads: most }, notes: [note] });
  });

  it("takes an instruction set by the README's names and the addon's, in any case", async () => {
    const isaOf = async (named: string) => (await withIsa(named, () => load(source, "cpu", 0, 0))).isa;
    const base = process.arch === "x64" ? "sse2" : "base";
    expect(await isaOf("base")).toBe(base);
    expect(await isaOf(base.toUpperCase())).toBe(base);
    for (const isa of loadAddon().isas().slice(1)) {
      expect(await isaOf(isa)).toBe(isa);
      expect(await isaOf(isa.toUpperCase().replace("AVX5", "AVX-5"))).toBe(isa);
    }
  });

  it("auto runs the next backend if an instruction set is misnamed, and says why", async () => {
    const { backend, notes } = await withIsa("sse9", () => load(source, "auto", 0, 0));
    expect(backend).toBe("wasm");
    expect(notes).toEqual([
      expect.stringMatching(
        /^running on wasm: LLAMA2_ISA is sse9, which is not the name of an instruction set; it has /,
      ),
    ]);
  });

  it("an instruction set that this machine lacks is refused by name", async () => {
    for (const isa of [process.arch === "arm64" ? "avx2" : "neon", "avx1024"]) {
      await expect(withIsa(isa, () => load(source, "cpu", 0, 0))).rejects.toThrow(
        expect.objectContaining({
          code: "E_DEVICE_UNAVAILABLE",
          message: expect.stringContaining(`LLAMA2_ISA is ${isa}`),
        }),
      );
    }
  });
});

describe("in a package where the addon is", () => {
  let checkpoint = "";
  beforeAll(() => {
    checkpoint = checkpointFile(SHAPES.tiny);
  });

  /** What `load` says in a copy of the package whose addon, and kernels, are what `spoil` makes of them. */
  async function loadIn(spoil: (addon: string, kernels: string) => void, name: string) {
    const root = tempDir();
    cpSync(join(ROOT, "dist"), join(root, "dist"), { recursive: true });
    cpSync(join(ROOT, "package.json"), join(root, "package.json"));
    symlinkSync(join(ROOT, "node_modules"), join(root, "node_modules"), "junction");
    mkdirSync(join(root, "build", "Release"), { recursive: true });
    spoil(join(root, "build", "Release", "llama2_cpu.node"), join(root, "dist", "backend", "wasm", "kernels.wasm"));
    const { stdout, stderr } = await runScript(`
      import { load } from "${root}/dist/backend/load.js";
      import { openFile } from "${root}/dist/checkpoint/openFile.js";
      try {
        const { backend, notes } = await load(await openFile(${JSON.stringify(checkpoint)}), "${name}", 0, 0);
        console.log(JSON.stringify({ backend, notes }));
      } catch ({ code, message }) {
        console.log(JSON.stringify({ code, message }));
      }`);
    expect(stderr).toBe("");
    return JSON.parse(stdout);
  }
  const broken = (path: string) => writeFileSync(path, "not a library");

  it.skipIf(!hasAddon)(`good: auto is cpu, without a message${needsAddon}`, async () => {
    const good = (addon: string) => cpSync(ADDON_PATH, addon);
    expect(await loadIn(good, "auto")).toEqual({ backend: "cpu", notes: [] });
  });

  it("absent: auto runs the next backend and says why", async () => {
    const { backend, notes } = await loadIn(() => {}, "auto");
    expect(backend).toBe("wasm");
    expect(notes).toEqual([expect.stringMatching(/^running on wasm: .*native addon has not been built/)]);
  });

  it("broken: auto runs the next backend and says why", async () => {
    const { backend, notes } = await loadIn(broken, "auto");
    expect(backend).toBe("wasm");
    expect(notes).toEqual([expect.stringMatching(/does not load here \(ERR_DLOPEN_FAILED: .+\)/)]);
  });

  it("broken, like the kernels: auto runs ts and says why, in one line", async () => {
    const spoil = (addon: string, kernels: string) => {
      broken(addon);
      broken(kernels);
    };
    const { backend, notes } = await loadIn(spoil, "auto");
    expect(backend).toBe("ts");
    expect(notes).toEqual([expect.stringMatching(/^running on ts: .*does not load.*; .*WebAssembly kernels cannot/)]);
  });

  it.each([
    ["absent", () => {}],
    ["broken", broken],
  ])("%s: cpu, when it is named, never falls back", async (_, spoil) => {
    expect(await loadIn(spoil, "cpu")).toMatchObject({ code: "E_DEVICE_UNAVAILABLE" });
  });
});
