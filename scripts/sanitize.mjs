// npm run test:sanitize: builds native/cpu with g++ and its sanitizers, and runs it with random shapes. Memory errors and
// undefined behaviour first, then data races between threads. After a finding the exit status is 1.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { arch, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("../native/cpu/", import.meta.url));

// as in binding.gyp
const flags = [
  "-std=c++17",
  "-ffp-contract=off",
  "-fno-math-errno",
  "-fno-trapping-math",
  "-Wall",
  "-Wextra",
  "-Werror",
];
const isaFlags = {
  "kernels_avx2.cpp": ["-mavx2"],
  "kernels_avx512.cpp": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni"],
};
const elsewhere = arch() === "arm64" ? Object.keys(isaFlags) : ["kernels_neon.cpp"];

function run(command, args, env = {}) {
  const { status, signal, error } = spawnSync(command, args, { stdio: "inherit", env: { ...process.env, ...env } });
  if (status === 0) return;
  console.error(`${command} ${error?.message ?? signal ?? `ended with status ${status}`}`);
  process.exit(1);
}

const build = mkdtempSync(join(tmpdir(), "llama2-sanitize-"));
process.on("exit", () => rmSync(build, { recursive: true, force: true }));

for (const [sanitizers, shapes] of [
  ["address,undefined", 60],
  ["thread", 12],
]) {
  const sanitize = ["-O1", "-g", `-fsanitize=${sanitizers}`, "-fno-sanitize-recover=all"];
  const sources = readdirSync(source).filter((name) => name.endsWith(".cpp") && !elsewhere.includes(name));
  const objects = [...sources, "test/random_shapes.cpp"].map((name) => {
    const object = join(build, `${name.replaceAll("/", "_")}.o`);
    run("g++", [
      ...flags,
      ...(isaFlags[name] ?? []),
      ...sanitize,
      `-I${source}`,
      "-c",
      join(source, name),
      "-o",
      object,
    ]);
    return object;
  });
  const program = join(build, "random_shapes");
  run("g++", [...sanitize, ...objects, "-pthread", "-o", program]);
  console.log(`-fsanitize=${sanitizers}`);
  run(program, [String(shapes)], { UBSAN_OPTIONS: "print_stacktrace=1" });
}
