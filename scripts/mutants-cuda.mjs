// Plants a bug in a copy of native/cuda, one at a time, and sees whether the emulator's checks find it: other logits or
// tokens than without it, an error of the emulator, or a report of a sanitizer. Any that nobody finds ends it with 1.
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildDriver } from "./cuda-emulator.mjs";
import { smallRun } from "./cuda-small-run.mjs";

const source = fileURLToPath(new URL("../native/cuda", import.meta.url));
const barrier = (comment) => [`  __syncthreads();  // ${comment}`, "  "];

/** What, where, and the text that is replaced by another. Those that only order memory are found by ThreadSanitizer. */
export const MUTANTS = [
  ["no barrier after staging", "matvec.h", ...barrier("orders what was staged before multiply reads it")],
  [
    "no barrier before staging anew",
    "matvec.h",
    ...barrier("no warp still reads the tile before; orders what prepare wrote before its use"),
    "thread",
  ],
  ["no barrier after the sums of squares", "matvec.h", ...barrier("orders the writes of parts before the reads below")],
  ["no barrier after the query", "attention.h", ...barrier("orders the writes of query before the reads below")],
  ["no barrier between warps' maxima", "attention.h", ...barrier("orders the writes of parts before the reads below")],
  ["no barrier after the weighted sums", "attention.h", ...barrier("orders the writes of sums before the reads below")],
  [
    "no barrier between the steps of the sort",
    "sampler.h",
    "      __syncthreads();  // orders this step's",
    "      // orders this step's",
    "thread",
  ],
  [
    "no barrier before the best is written",
    "sampler.h",
    ...barrier("orders all threads' reads of the draw before the writes below"),
    "thread",
  ],
  [
    "rows off by one",
    "matvec.h",
    "static_cast<size_t>(rows.row[r]) *",
    "static_cast<size_t>(rows.row[r] + 1) *",
    "address,undefined",
  ],
  ["n for the stride of a row", "matvec.h", "(w.stride / kPer16<W>)", "(w.n / kPer16<W>)"],
  [
    "a row too many",
    "matvec.h",
    "const bool busy = unit < units;",
    "const bool busy = unit <= units;",
    "address,undefined",
  ],
  ["columns share a stride", "matvec.h", "c * (tiling.tile / 4)", "c * 0"],
  [
    "one position too few",
    "attention.h",
    "entry.pos + 1 - first < partials.chunk ? entry.pos + 1 - first",
    "entry.pos + 1 - first < partials.chunk ? entry.pos - first",
  ],
  ["another head's keys", "attention.h", "head / (nHeads / cache.nKvHeads)", "0"],
  [
    "a stale position",
    "qkv.h",
    "static_cast<size_t>(entry.pos) * (rope.headSize / 2)",
    "static_cast<size_t>(entries[0].pos) * (rope.headSize / 2)",
  ],
  ["another slot's cache", "qkv.h", "cache.offset(entry.slot,", "cache.offset(0,"],
  ["the residual forgotten", "ffn.h", "+ row] += v[0]", "+ row] = v[0]"],
  [
    "a tie to the higher token",
    "classifier.h",
    "(0xffffffffu - static_cast<unsigned>(token))",
    "static_cast<unsigned>(token)",
  ],
  ["no wait for the kernel before", "matvec.h", "  waitForPreviousKernel();\n", ""],
  ["a sum that is never odd", "sampler.h", "(bits & 1) ? add.odd : add.even", "add.even + 1"],
  [
    "a read-only load of activations",
    "ffn.h",
    "return hb[static_cast<size_t>(firstColumn + c) * w2.n + j];",
    "return __uint_as_float(loadReadOnly(reinterpret_cast<const uint4*>(x)).x) * 0 + hb[static_cast<size_t>(firstColumn + c) * w2.n + j];",
  ],
];

/** Where everything is built; made when it is needed. */
let folder = "";
const SEEDS = [1, 2, 3, 4, 5, 6];

/** Kernels that may start early, as on a Hopper. */
const EARLY = { EMULATOR_COMPUTE: "9", EMULATOR_DRIVER: "12030", EMULATOR_RUNTIME: "12030" };

/** What the program does in several schedules, as text. */
function behaviour(program, sanitized) {
  const settings = sanitized
    ? [{ EMULATOR_RESIDENT: "4" }]
    : [{}, { EMULATOR_SCHEDULE: "reverse", ...EARLY }, { EMULATOR_SCHEDULE: "random" }, { EMULATOR_READ_ONLY: "1" }];
  return settings.flatMap((env) =>
    SEEDS.map((seed) => {
      const { commands, numbers } = smallRun(seed, !sanitized && seed === 5);
      writeFileSync(join(folder, "numbers"), numbers);
      const { status, stdout } = spawnSync(program, [join(folder, "numbers"), join(folder, "logits")], {
        input: commands,
        encoding: "utf8",
        timeout: 120_000,
        env: { ...process.env, ...env, TSAN_OPTIONS: "halt_on_error=1" },
      });
      return `${status} ${stdout} ${readFileSync(join(folder, "logits")).toString("base64")}`;
    }),
  );
}

const sane = new Map();
async function saneBehaviour(flags, sanitizer) {
  if (!sane.has(sanitizer))
    sane.set(sanitizer, behaviour(await buildDriver(join(folder, `sane${sane.size}`), { flags }), sanitizer !== ""));
  return sane.get(sanitizer);
}

/** Plant those of these numbers, or all. Returns how many nobody has found. */
async function plant(only) {
  folder = mkdtempSync(join(tmpdir(), "llama2-mutants-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  let missed = 0;
  for (const [i, [what, file, from, to, sanitizer = ""]] of MUTANTS.entries()) {
    if (only.length > 0 && !only.includes(i)) continue;
    const flags = sanitizer === "" ? ["-O1"] : ["-O1", "-g", `-fsanitize=${sanitizer}`, "-fno-sanitize-recover=all"];
    const expected = await saneBehaviour(flags, sanitizer);
    const copy = join(folder, `mutant${i}`);
    cpSync(source, copy, { recursive: true });
    const text = readFileSync(join(copy, file), "utf8");
    if (!text.includes(from)) throw new Error(`${file} has no "${from}"`);
    writeFileSync(join(copy, file), text.replace(from, to));
    const found = behaviour(await buildDriver(join(copy, "build"), { flags, source: copy }), sanitizer !== "").some(
      (b, k) => b !== expected[k],
    );
    if (!found) missed++;
    console.log(`${found ? "found" : "MISSED"}  ${what}${sanitizer === "" ? "" : ` (${sanitizer})`}`);
    rmSync(copy, { recursive: true });
  }
  return missed;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exit((await plant(process.argv.slice(2).map(Number))) > 0 ? 1 : 0);
}
