import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unzipSync } from "fflate";
import { describe, expect, it } from "vitest";
import { openTrace } from "../../src/trace/open.ts";
import { hasAddon, needsAddon } from "../helpers/backends.ts";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.ts";
import { llama2 } from "../helpers/cli.ts";
import { copyPackage } from "../helpers/package.ts";
import { tempDir } from "../helpers/temp.ts";

const trace = async (...args: string[]) => {
  const { code, stdout, stderr } = await llama2(["trace", "-i", "Once upon a time", ...args]);
  expect({ code }, stderr).toEqual({ code: 0 });
  return stdout.toString();
};
const model = await openTrace();
const run = model.run("Once upon a time");

describe.concurrent("trace", () => {
  it("prints a row for each tensor of each stop, with its lines in transformer.ts and run.c", async () => {
    const lines = (await trace()).trimEnd().split("\n");
    const rows = lines.slice(lines.findIndex((line) => /^line +run.c/.test(line)) + 1);
    expect(rows.length).toBe(16 * 5 + 3 + 5); // rope has two tensors
    expect(rows[0]).toMatch(/^ *245 +246 +embed +x \(192\) /);
    expect(lines[1]).toMatch(/^position 4 " time", 83 stops; then comes /);
  });

  it("as JSON has the run's values bit for bit, and where they come from", async () => {
    const object = JSON.parse(await trace("--json", "--pos", "3"));
    expect(object).toMatchObject({ model: "stories2M", backend: "ts", prompt: "Once upon a time", position: 3 });
    expect(object.tokens).toEqual(run.tokens);
    expect(object.next).toEqual({ id: run.tokens[4], piece: " time" });
    expect(object.stops.length).toBe(83);
    for (const { id, layer = -1, tensors } of object.stops) {
      for (const { name, shape, values } of tensors) {
        const expected = run.values(3, { id, layer }, name);
        expect(Float32Array.from(values)).toEqual(expected);
        expect(shape.reduce((a: number, b: number) => a * b)).toBe(expected.length);
      }
    }
    expect(object.stops[1]).toMatchObject({ id: "norm1", layer: 0, runc: 252, source: { line: 251 } });
  });

  it("generates tokens for later positions as a story does", async () => {
    const { tokens } = JSON.parse(await trace("--json", "--pos", "20", "-t", "0.8", "-s", "7", "--at", "logits"));
    const printed = await llama2(["-i", "Once upon a time", "-t", "0.8", "-s", "7", "-n", "20", "--json"]);
    expect(tokens).toEqual(JSON.parse(printed.stdout.toString()).tokens);
  });

  it("draws attention: heads by positions, and one head at every position", async () => {
    const heads = await trace("--at", "att", "--layer", "2");
    expect(heads.match(/^head \d \|.{10}\|$/gm)?.length).toBe(6);
    expect(heads).toContain('columns: 0 <s>, 1 " Once", 2 " upon", 3 " a", 4 " time"');
    const triangle = await trace("--at", "att", "--layer", "2", "--head", "5");
    expect(triangle.match(/\|.*\|/g)?.map((row) => row.length - 2)).toEqual([2, 4, 6, 8, 10]);
    expect(triangle).toContain("<s> |@@|"); // the first token can look at itself only
  });

  it("says why: follows the largest terms, in sums exact to the last bit, to an embedding, a token and a position", async () => {
    const text = await trace("--why", "logits[12]", "--depth", "40");
    expect(text).toContain(`logits[12] at 4 = ${run.values(4, { id: "logits", layer: -1 })[12]}\n`);
    expect(text).toMatch(/embed\[\d+\] at (\d)[\s\S]*the token \d+ .* at position \1\n$/);
    expect(text.match(/terms?, to the last bit/g)?.length).toBe(text.match(/transformer\.ts:/g)?.length);
    const { why } = JSON.parse(await trace("--why", "L2.rope.k[3]", "--depth", "2", "--json"));
    expect(why).toMatchObject({ value: "L2.rope.k[3] at 4", exact: true, terms: 2 });
    expect(why.next.value).toMatch(/^L2\.k\[[23]\] at 4$/);
    expect(why.next).not.toHaveProperty("next");
  });

  it("switches parts off, and shows the next token with and without them", async () => {
    const ablated = JSON.parse(await trace("--ablate", "L2.H5", "--ablate", "L0.ffn", "--json"));
    const mix = ablated.stops.find(({ id, layer }: { id: string; layer: number }) => id === "mix" && layer === 2);
    expect(mix.tensors[0].values.slice(160)).toEqual(new Array(32).fill(0));
    expect(ablated.ablated).toMatchObject({
      parts: ["L2.H5", "L0.ffn"],
      before: { id: model.next(run, model.sampler()) },
    });
    expect(ablated.ablated.kl).toBeGreaterThan(0.1);
    expect(await trace("--ablate", "L0.ffn")).toMatch(/^without L0\.ffn; with it, then comes " ?.*" \(KL \d/m);
  });

  it.each(["ts,wasm", "wasm,ts"])("finds %s the same, bit for bit, at all stops that both have", async (pair) => {
    const text = await trace("--diff", pair, "--pos", "20");
    expect(text).toContain("are the same, bit for bit: 11 stops that both have");
    expect(text.match(/^L\d\.(rope|v) +0 +0 /gm)?.length).toBe(10);
  });

  it.skipIf(!hasAddon)(`and cpu, also in int8${needsAddon}`, async () => {
    for (const flags of [[], ["--int8"]]) {
      expect(await trace("--diff", "ts,cpu", ...flags)).toContain("ts and cpu are the same, bit for bit: 11 stops");
    }
  });

  it("writes .npz for the stops asked for", async () => {
    const path = join(tempDir(), "trace.npz");
    await trace("--npz", path, "--layer", "1", "--at", "probs");
    expect(Object.keys(unzipSync(readFileSync(path)))).toEqual(["blocks.1.attn.hook_pattern.npy"]);
    await trace("--npz", path);
    expect(Object.keys(unzipSync(readFileSync(path))).length).toBe(16 * 5 + 3 + 5);
  });

  it("on another backend says which stops are fused", async () => {
    const text = await trace("--backend", "wasm", "--layer", "0");
    expect(text.match(/fused$/gm)?.length).toBe(14);
    const { backend, stops } = JSON.parse(await trace("--backend", "wasm", "--json"));
    expect(backend).toBe("wasm");
    expect(stops[1]).toMatchObject({ id: "norm1", fused: true, tensors: [] });
    expect(Float32Array.from(stops[82].tensors[0].values)).toEqual(run.logits);
  });

  it("steps like a debugger: next, back, layers, tokens, into a value and out again", async () => {
    const { stdout, code } = await llama2(["trace", "-i", "Once upon", "--step"], { stdin: "nnb}[ssox\nq" });
    expect(code).toBe(0);
    const where = stdout.toString().match(/^.*(stop \d+ of 83, position \d|^L?\d?.*\] at \d = ).*$/gm) ?? [];
    const shown = where.map((line) => /stop \d+ of 83, position \d|^.*\] at \d/.exec(line)?.[0]);
    expect(shown.slice(0, 6)).toEqual([1, 2, 3, 2, 18, 18].map((n, i) => `stop ${n} of 83, position ${i < 5 ? 2 : 1}`));
    expect(shown.slice(6)).toMatchObject([
      expect.stringMatching(/^L1\.norm1\[\d+\] at 1$/),
      expect.stringMatching(/^L0\.res2\[\d+\] at 1$/),
      expect.stringMatching(/^L1\.norm1/),
    ]);
  });

  it.each([
    [["--at", "attention"], 'there is no stop "attention"'],
    [["--layer", "5"], "there is no layer 5: there are 0 to 4"],
    [["--layer", "1", "--at", "att", "--head", "6"], "there is no head 6: there are 0 to 5"],
    [["--head", "1"], "--head needs --layer and --at"],
    [["--pos", "512"], "there is no position 512: the context has 512"],
    [["--ablate", "L9"], "the layers are L0 to L4"],
    [["--why", "logits"], "expected a stop and an index"],
    [["--why", "q[3]"], "q is in a layer, as L0.q[3]"],
    [["--why", "L0.q[192]"], "q has 0 to 191"],
    [["--diff", "ts"], "Expected two of"],
    [["--step", "--json"], "--step does not go with --json"],
    [["--backend", "wasm", "--why", "logits[1]"], "need --backend ts"],
  ])("refuses %j with exit code 2", async (flags, message) => {
    const { code, stderr, stdout } = await llama2(["trace", "-i", "Once upon", ...flags]);
    expect({ code, out: stdout.length }).toEqual({ code: 2, out: 0 });
    expect(stderr).toContain(message);
    expect(stderr).toContain("(E_USAGE)");
  });

  it("fails with E_FILE for a file that cannot be opened or written, and leaves no partial file", async () => {
    const folder = tempDir();
    for (const args of [["none.bin"], ["--npz", join(folder, "no", "x.npz")]]) {
      const { code, stderr } = await llama2(["trace", "-i", "Once", ...args], { cwd: folder });
      expect({ code }).toEqual({ code: 1 });
      expect(stderr).toContain("(E_FILE)");
    }
    expect(existsSync(join(folder, "no"))).toBe(false);
  });

  it("needs the tokenizer that fits", async () => {
    const { code, stderr } = await llama2(["trace", checkpointFile(SHAPES.tiny), "-i", "Once"]);
    expect({ code }).toEqual({ code: 1 });
    expect(stderr).toContain("(E_FORMAT)");
  });
});

it("--diff ends with 1 where two backends differ beyond the tolerance, and names the first stop", async () => {
  const root = copyPackage(); // in which the traced v is off
  const stop = 'stop("v", l, -1, s.v)'; // as the build writes it
  const cli = join(root, "dist", "node");
  const files = readdirSync(cli).map((name) => join(cli, name));
  const traced = files.filter((path) => path.endsWith(".js") && readFileSync(path, "utf8").includes(stop));
  expect(traced.length).toBe(1);
  const code = readFileSync(traced[0], "utf8");
  writeFileSync(traced[0], code.replace(stop, `(s.v[3]*=1+1e-6,${stop})`));
  const args = ["trace", "-i", "Once upon", "--diff", "ts,wasm"];
  const { code: status, stdout, stderr } = await llama2(args, { root });
  expect({ code: status, stderr }).toEqual({ code: 1, stderr: "llama2: ts and wasm differ at L0.v (E_NUMERIC)\n" });
  expect(stdout.toString()).toContain("ts and wasm differ first at L0.v: 11 stops");
  const tolerant = await llama2([...args, "--tolerance", "1e-3"], { root });
  expect({ code: tolerant.code }).toEqual({ code: 0 });
  expect(tolerant.stdout.toString()).toContain("the same within the tolerance");
});
