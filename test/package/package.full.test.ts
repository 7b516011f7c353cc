import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

/*
 * The package as users get it: packed, and installed into an empty folder on a machine that has Node and npm
 * and nothing to compile with.
 */
const home = tempDir();
const tools = join(home, "bin");
const project = join(home, "project");
const env = { PATH: tools, HOME: home, npm_config_cache: npmCache() };

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { cwd: project, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Where npm keeps what it has downloaded, so that the test need not download it again. */
function npmCache(): string {
  return execFileSync("npm", ["config", "get", "cache"], {
    encoding: "utf8",
    shell: process.platform === "win32",
  }).trim();
}

let packed: string[];
let size: number;

beforeAll(() => {
  mkdirSync(tools);
  mkdirSync(project);
  for (const tool of ["node", "npm", "sh"]) {
    symlinkSync(execFileSync("which", [tool], { encoding: "utf8" }).trim(), join(tools, tool));
  }
  // the present build is tested; --ignore-scripts, because a new build would remove it under other tests
  const pack = execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", home], {
    cwd: ROOT,
    encoding: "utf8",
  });
  const [{ filename, files, ...tarball }] = JSON.parse(pack);
  size = tarball.size;
  packed = files.map(({ path }: { path: string }) => path);
  writeFileSync(join(project, "package.json"), '{ "name": "stranger", "type": "module" }');
  run("npm", "install", "--prefer-offline", "--no-audit", "--no-fund", join(home, filename));
}, 300_000);

describe("the packed package, installed where nothing can be compiled", () => {
  it("finds no compiler and no Python there", () => {
    expect(readdirSync(tools).sort()).toEqual(["node", "npm", "sh"]);
    for (const tool of ["cc", "gcc", "g++", "make", "python3"]) expect(() => run(tool, "--version")).toThrow("ENOENT");
  });

  it("contains what is needed, and no TypeScript, tests or binaries", () => {
    const needed = [
      "dist/index.d.ts",
      "dist/node/index.js",
      "dist/node/main.js",
      "dist/node/worker.js",
      "dist/browser/index.js",
      "dist/study/index.html",
      "scripts/llama2.mjs",
      "LICENSE",
      "README.md",
    ];
    expect(packed).toEqual(expect.arrayContaining(needed));
    expect(packed).toEqual(expect.arrayContaining(["models/stories2M.bin", "models/tok2048.bin", "models/README.md"]));
    expect(packed).toEqual(expect.arrayContaining(["dist/backend/wasm/kernels.wasm", "native/cpu/forward.cpp"]));
    expect(packed).toEqual(
      expect.arrayContaining(["CMakeLists.txt", "native/cuda/forward.cu", "native/cuda/addon/addon.cpp"]),
    );
    expect(packed.filter((path) => /emulator|\/test\//.test(path))).toEqual([]);
    expect(packed.filter((path) => /^(src|test|bench|build)\//.test(path))).toEqual([]);
    const rooms = packed.filter((path) => /\.js$/.test(path)).map((path) => dirname(path));
    expect([...new Set(rooms)].sort()).toEqual(["dist/browser", "dist/node", "dist/node/page", "dist/study"]);
  });

  it("has at most 11,000,000 bytes, 450,000 of them guesses", () => {
    expect(size).toBeLessThanOrEqual(11_000_000);
    expect(packed).toContain("models/stories2M.guesses");
    expect(statSync(join(ROOT, "models", "stories2M.guesses")).size).toBeLessThanOrEqual(450_000);
  });

  it("has a llama2 that tells a story", () => {
    const story = run(join(project, "node_modules", ".bin", "llama2"), "-s", "42", "-n", "30");
    expect(story).toMatch(/^Once upon a time, there was a little boy named Tim\. Tim loved to play/);
  });

  it("builds no CUDA addon there, and says in one line what is missing", () => {
    const build = () => run("npm", "run", "build:cuda", "--prefix", join(project, "node_modules", "llama2.ts"));
    expect(build).toThrow(/the cuda backend was not built: there is no (nvcc|cmake): [^\n]*\n/);
  });

  it("has a library that imports", () => {
    writeFileSync(
      join(project, "story.js"),
      `import { loadModel } from "llama2.ts";
       const model = await loadModel();
       for await (const piece of model.generate("Once upon a time", { temperature: 0, maxTokens: 4 })) process.stdout.write(piece);
       await model.dispose();`,
    );
    expect(run("node", "story.js")).toBe(", there was a");
  });

  it("leads a stack trace to the lines of its sources, which its maps hold", () => {
    writeFileSync(
      join(project, "fails.js"),
      `import { loadModel } from "llama2.ts";
       await loadModel("missing.bin").catch(({ stack }) => console.log(stack));`,
    );
    expect(run("node", "--enable-source-maps", "fails.js")).toMatch(/\bsrc[\\/]run[\\/]client\.ts:\d+:\d+\)/);
    const failOnOutput = "data:text/javascript,process.stdout.write=()=>{console.error(Error().stack);process.exit(3)}";
    const llama2 = join(project, "node_modules", "llama2.ts", "scripts", "llama2.mjs");
    const fail = () => run("node", "--enable-source-maps", "--import", failOnOutput, llama2, "tokenize", "Once");
    expect(fail).toThrow(/\bsrc[\\/]cli[\\/]tokenize\.ts:\d+:\d+\)/);
  });

  it("has types, which a strict compiler accepts and which know a wrong option", () => {
    const compile = (source: string) => {
      writeFileSync(join(project, "story.ts"), source);
      const tsc = join(ROOT, "node_modules", "typescript", "bin", "tsc");
      const options = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2022", "--types", ""];
      return run("node", tsc, ...options, "story.ts");
    };
    const head = `import { loadModel, Llama2Error, quantize } from "llama2.ts";
      import type { Header, Remedy, Token, WriteOptions } from "llama2.ts";
      const model = await loadModel(undefined, { backend: "auto" });
      const onToken = ({ id, logprob, position }: Token): number => id + logprob + position;`;
    compile(`${head} for await (const piece of model.generate("x", { seed: 1n, onToken })) piece.toUpperCase();
      await model.dispose(); new Llama2Error("E_USAGE", "").code satisfies string;
      const { remedy } = new Llama2Error("E_LIMIT", "", { option: "context", value: 64 });
      const mended: Remedy | undefined = remedy;
      const options: WriteOptions = { onProgress: (written, total) => void (written / total) };
      const header: Header = await quantize("in.bin", "out.bin", { ...options, groupSize: 32 });
      header.config.dim satisfies number;`);
    expect(() => compile(`${head} model.generate("x", { temprature: 1 });`)).toThrow();
  });
});
