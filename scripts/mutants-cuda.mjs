// Plants bugs in a copy of native/cuda, one at a time, and sees whether the small sections of gpu:check find them on the
// emulator. Any that they miss ends it with status 1. Numbers as arguments: only those.
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/**
 * What the bug is, in which file, the code that is replaced, and by what. Missing barriers that only order memory are
 * found by ThreadSanitizer. `section` is where gpu:check finds it, logits by default.
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

/** Code alone: no comments, and each run of white space is one space, except around preprocessor lines. */
export function codeOf(text) {
  const bare = text.replace(/"(?:\\.|[^"\\])*"|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, (part) => (part[0] === '"' ? part : " "));
  let code = "";
  for (const line of bare.replaceAll("\\\n", " ").split("\n")) {
    const words = line.trim().replace(/\s+/g, " ");
    if (words !== "") code += words[0] === "#" ? `\n${words}\n` : `${code.endsWith("\n") ? "" : " "}${words}`;
  }
  return code;
}

/** The code of a file with the bug in it. Throws unless there is exactly one place for it. */
export function planted({ what, file, from, to }, text) {
  const parts = codeOf(text).split(from);
  if (parts.length !== 2) throw new Error(`${what}: ${file} has ${parts.length - 1} places with \`${from}\``);
  return parts.join(to);
}

/** Run a section of gpu:check on a copy of native/. Returns its status: ok, failed, crashed. */
function checked(native, { section = "logits", sanitizer, env = {} }, folder) {
  const out = join(folder, "results.json");
  rmSync(out, { force: true });
  const sanitize = sanitizer ? ["--sanitize", sanitizer] : [];
  const build = ["--build", join(root, "build-emulator", "check")];
  const args = ["--emulate", "--small", "--native", native, "--only", section, "--out", out, "--seconds", "900"];
  const { stdout, stderr } = spawnSync(
    "python3",
    [join(root, "scripts", "gpu-check.py"), ...args, ...sanitize, ...build],
    {
      encoding: "utf8",
      env: { ...process.env, TSAN_OPTIONS: "halt_on_error=1", ...env },
    },
  );
  const { sections } = JSON.parse(readFileSync(out, "utf8"));
  if (sections.length !== 1) throw new Error(`gpu:check did not run:\n${stdout}${stderr}`);
  return sections[0].status;
}

/** Plant those of these numbers, or all. Returns how many were missed. */
function plant(only) {
  const folder = mkdtempSync(join(tmpdir(), "llama2-mutants-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const source = join(root, "native");
  const sane = new Set();
  let missed = 0;
  for (const [i, mutant] of MUTANTS.entries()) {
    if (only.length > 0 && !only.includes(i)) continue;
    const { what, file, section, sanitizer, env } = mutant;
    const how = JSON.stringify([section, sanitizer, env]);
    if (!sane.has(how) && checked(source, mutant, folder) !== "ok") throw new Error(`without a bug, ${how} is not ok`);
    sane.add(how);
    const copy = join(folder, "native");
    cpSync(source, copy, { recursive: true });
    const path = join(copy, "cuda", file);
    writeFileSync(path, planted(mutant, readFileSync(path, "utf8")));
    const found = checked(copy, mutant, folder) !== "ok";
    if (!found) missed++;
    console.log(`${found ? "found" : "MISSED"}  ${i} ${what}${sanitizer ? ` (${sanitizer})` : ""}`);
    rmSync(copy, { recursive: true });
  }
  return missed;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exit(plant(process.argv.slice(2).map(Number)) > 0 ? 1 : 0);
}
