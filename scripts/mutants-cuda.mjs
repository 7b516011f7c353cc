// Plants bugs in a copy of native/cuda, one at a time, and checks that the small sections of gpu:check find them on the
// emulator. If they miss one, the exit status is 1. Numbers as arguments: only those bugs.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkEmulated } from "./gpu-check.mjs";
import { checkedArguments } from "./usage.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

/**
 * The bugs: a description, the file, the code that is replaced, and its replacement. Races that leave the
 * values right are found with -fsanitize=thread. `section` is the section of gpu:check that finds it, by default logits.
 * @type {{ what: string, file: string, from: string, to: string, sanitizer?: string, section?: string, env?: object }[]}
 */
export const MUTANTS = [
  {
    what: "no barrier after staging",
    file: "matvec.h",
    from: "stage(x, shape, start * kPer16<W>, end * kPer16<W>, value); } __syncthreads(); }",
    to: "stage(x, shape, start * kPer16<W>, end * kPer16<W>, value); } }",
  },
  {
    what: "no barrier before staging anew",
    file: "matvec.h",
    from: "if (round == 0 || tile < vectors) { __syncthreads();",
    to: "if (round == 0 || tile < vectors) {",
    sanitizer: "thread",
  },
  {
    what: "no barrier after the sums of squares",
    file: "matvec.h",
    from: "__syncthreads(); if (static_cast<int>(threadIdx.x) < count)",
    to: "if (static_cast<int>(threadIdx.x) < count)",
  },
  {
    what: "no barrier after the query",
    file: "attention.h",
    from: "query[i] = i < headSize ? q[i] : 0.0f; __syncthreads();",
    to: "query[i] = i < headSize ? q[i] : 0.0f;",
  },
  {
    what: "no barrier between warps' maxima",
    file: "attention.h",
    from: "parts[warpOf()] = value; __syncthreads();",
    to: "parts[warpOf()] = value;",
  },
  {
    what: "no barrier after the weighted sums",
    file: "attention.h",
    from: "= part; } __syncthreads();",
    to: "= part; }",
  },
  {
    what: "no barrier between the steps of the sort",
    file: "sampler.h",
    from: "keys[other] = key; } } __syncthreads();",
    to: "keys[other] = key; } }",
    sanitizer: "thread",
    section: "sampler",
  },
  {
    what: "no barrier before the best is written",
    file: "sampler.h",
    from: "__syncthreads(); if (threadIdx.x != 0) return;",
    to: "if (threadIdx.x != 0) return;",
    sanitizer: "thread",
    section: "sampler",
  },
  {
    what: "rows off by one",
    file: "matvec.h",
    from: "static_cast<size_t>(rows.row[r]) *",
    to: "static_cast<size_t>(rows.row[r] + 1) *",
  },
  {
    what: "n for the stride of a row",
    file: "matvec.h",
    from: "(w.stride / kPer16<W>)",
    to: "(w.n / kPer16<W>)",
  },
  {
    what: "a row too many",
    file: "matvec.h",
    from: "const bool busy = unit < units;",
    to: "const bool busy = unit <= units;",
    sanitizer: "address,undefined",
  },
  { what: "columns share a stride", file: "matvec.h", from: "c * (tiling.tile / 4)", to: "c * 0" },
  {
    what: "one position too few",
    file: "attention.h",
    from: "< partials.chunk ? entry.pos + 1 - first",
    to: "< partials.chunk ? entry.pos - first",
  },
  { what: "another head's keys", file: "attention.h", from: "head / (nHeads / cache.nKvHeads)", to: "0" },
  { what: "another position's angles", file: "embed.h", from: "entries[entry].pos", to: "entries[0].pos" },
  {
    what: "another entry's angles",
    file: "qkv.h",
    from: "static_cast<size_t>(firstColumn + c) * (rope.headSize / 2)",
    to: "static_cast<size_t>(firstColumn) * (rope.headSize / 2)",
  },
  {
    what: "another sequence's cache",
    file: "qkv.h",
    from: "cache.offset(entry.sequence,",
    to: "cache.offset(0,",
    section: "batches",
  },
  {
    what: "the values not copied",
    file: "copy.h",
    from: "rows(cache.values, to)[i] = rows(cache.values, from)[i];",
    to: "",
    section: "copies",
  },
  { what: "the residual forgotten", file: "ffn.h", from: "+ row] += v[0]", to: "+ row] = v[0]" },
  {
    what: "a tie to the higher token",
    file: "classifier.h",
    from: "(0xffffffffu - static_cast<unsigned>(token))",
    to: "static_cast<unsigned>(token)",
    section: "sampler",
  },
  {
    what: "no wait for the kernel before",
    file: "matvec.h",
    from: "waitForPreviousKernel(); prepare();",
    to: "prepare();",
  },
  {
    what: "a sum that is never odd",
    file: "sampler.h",
    from: "(bits & 1) ? add.odd : add.even",
    to: "add.even",
    section: "sampler",
  },
  {
    what: "a read-only load of activations",
    file: "ffn.h",
    from: "return hb[static_cast<size_t>(firstColumn + c) * w2.n + j];",
    to: "return __uint_as_float(loadReadOnly(reinterpret_cast<const uint4*>(x)).x) * 0 + hb[static_cast<size_t>(firstColumn + c) * w2.n + j];",
    env: { EMULATOR_READ_ONLY: "1" },
  },
];

/** The code without comments. Each run of white space becomes one space, except around preprocessor lines. */
export function codeOf(text) {
  const bare = text.replace(/"(?:\\.|[^"\\])*"|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, (part) => (part[0] === '"' ? part : " "));
  let code = "";
  for (const line of bare.replaceAll("\\\n", " ").split("\n")) {
    const words = line.trim().replace(/\s+/g, " ");
    if (words !== "") code += words[0] === "#" ? `\n${words}\n` : `${code.endsWith("\n") ? "" : " "}${words}`;
  }
  return code;
}

/** The code of a file with the bug. Throws unless there is exactly one place for it. */
export function planted({ what, file, from, to }, text) {
  const parts = codeOf(text).split(from);
  if (parts.length !== 2) throw new Error(`${what}: ${file} has ${parts.length - 1} places with \`${from}\``);
  return parts.join(to);
}

/** Plant one bug into a copy of native/. Prints and returns whether it was found. */
async function plant(number, folder) {
  const mutant = MUTANTS[number];
  const { what, file, section = "logits", sanitizer, env } = mutant;
  const copy = join(folder, `${number}`);
  cpSync(join(root, "native"), copy, { recursive: true });
  const path = join(copy, "cuda", file);
  writeFileSync(path, planted(mutant, readFileSync(path, "utf8")));
  const start = performance.now();
  const found = !(await checkEmulated(section, { sanitizer, env, args: ["--fail-fast", "--native", copy] })).right;
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  console.log(`${found ? "found" : "MISSED"}  ${number} ${what}${sanitizer ? ` (${sanitizer})` : ""}  ${seconds} s`);
  rmSync(copy, { recursive: true });
  return found;
}

/** Plant the bugs of these numbers, or all, on all cores. Returns how many were missed. */
async function plantAll(only) {
  const folder = mkdtempSync(join(tmpdir(), "llama2-mutants-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const numbers = MUTANTS.map((_, number) => number).filter((number) => only.length === 0 || only.includes(number));
  // Without a bug all checks must pass. (sanitize-cuda.mjs and the test of gpu:check run them under sanitizers and with the
  // mutants' environments.)
  const sections = [...new Set(numbers.map((number) => MUTANTS[number].section ?? "logits"))].join();
  const { right, printed } = await checkEmulated(sections);
  if (!right) throw new Error(`without a bug, ${sections} are not right:\n${printed}`);
  let missed = 0;
  const work = async () => {
    for (let number = numbers.shift(); number !== undefined; number = numbers.shift()) {
      if (!(await plant(number, folder))) missed++;
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  return missed;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const usage = `npm run test:mutants [-- NUMBER ...], each below ${MUTANTS.length}`;
  const numbers = checkedArguments(usage, (args) => args.every((arg) => /^\d+$/.test(arg) && arg in MUTANTS)).map(
    Number,
  );
  process.exit((await plantAll(numbers)) > 0 ? 1 : 0);
}
