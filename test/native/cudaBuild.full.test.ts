/*
 * npm run build:cuda: what it compiles for, what it says when something is missing, and, where nvcc is, what it
 * makes.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { buildCuda, chooseArchitectures, findNvcc } from "../../scripts/build-cuda.mjs";
import { compileForGpu, nvcc } from "../../scripts/cuda-emulator.mjs";
import { probe } from "../../src/backend/probe.ts";
import { runScript } from "../helpers/child.ts";
import { ROOT } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

describe("npm run build:cuda", () => {
  it.each<[named: string[], version: number, hasGpu: boolean, architectures: string]>([
    [[], 1202, true, "native"],
    [[], 1207, false, "75-real;80-real;86-real;89-real;90-real;90-virtual"],
    [[], 1208, false, "75-real;80-real;86-real;89-real;90-real;100-real;120-real;120-virtual"],
    [["all"], 1300, true, "75-real;80-real;86-real;89-real;90-real;100-real;120-real;120-virtual"],
    [["89", "90"], 1300, true, "89-real;90-real"],
  ])("named %j, with nvcc %i and a GPU: %s, compiles for %s", (named, version, hasGpu, architectures) => {
    expect(chooseArchitectures(named, version, hasGpu)).toBe(architectures);
  });

  /** What it says, and with which status, where the commands are only those named, and nvcc is another. */
  function refused(commands: string[], nvcc: string, ...args: string[]) {
    const tools = tempDir();
    for (const command of ["node", ...commands]) {
      const path = spawnSync("which", [command], { encoding: "utf8" }).stdout.trim();
      symlinkSync(path, join(tools, command));
    }
    const { status, stderr } = spawnSync(join(tools, "node"), [join(ROOT, "scripts", "build-cuda.mjs"), ...args], {
      encoding: "utf8",
      env: { PATH: tools, CUDACXX: nvcc },
    });
    return { status, stderr };
  }

  it.skipIf(process.platform === "win32")("fails in one line that says what is missing", () => {
    const fake = (version: string) => {
      const path = join(tempDir(), "nvcc");
      spawnSync("sh", ["-c", `printf '#!/bin/sh\\necho release ${version}\\n' > "$0"; chmod +x "$0"`, path]);
      return path;
    };
    const why = (stderr: string) => ({ status: 1, stderr: `the cuda backend was not built: ${stderr}\n` });
    expect(refused(["sh"], "/nowhere/nvcc")).toEqual(
      why("there is no nvcc: install the CUDA toolkit, 12.0 or newer, or name its nvcc in CUDACXX"),
    );
    expect(refused(["sh"], fake("11.8"))).toEqual(why("nvcc is 11.8: 12.0 or newer is needed"));
    expect(refused(["sh"], fake("12.2"))).toEqual(why("there is no cmake: install it, 3.18 or newer"));
    expect(refused(["sh"], fake("12.2"), "sm_90")).toEqual(
      why('"sm_90" is no architecture: expected numbers such as 89, or all'),
    );
  });

  const hasNvcc = findNvcc() !== undefined && spawnSync("cmake", ["--version"]).status === 0;
  it.skipIf(!hasNvcc)(
    `makes an addon that loads on any machine, and says why it cannot run${hasNvcc ? "" : " (skipped: needs nvcc and cmake, which are not here)"}`,
    async () => {
      const folder = tempDir();
      expect(buildCuda(["75"], { folder, loud: false })).toBeUndefined();
      const addon = join(folder, "Release", "llama2_cuda.node");
      expect(probe(addon)).toEqual({ ok: true, code: "", reason: "" });
      // no library of CUDA, nor of the compiler, is needed to load it
      if (process.platform === "linux") {
        const needed = readFileSync(addon, "latin1").match(/lib(cuda|cudart|stdc\+\+|gcc_s)\.so/g);
        expect(needed?.filter((name) => name !== "libcuda.so") ?? []).toEqual([]);
      }
      const { stdout, stderr } = await runScript(`
        import { openCuda } from "${ROOT}/dist/backend/cuda/cuda.js";
        try { openCuda(${JSON.stringify(addon)}); console.log("runs"); }
        catch ({ code, message }) { console.log(code, message); }`);
      expect(stderr).toBe("");
      const driver = existsSync("/dev/nvidiactl");
      expect(stdout).toMatch(
        driver
          ? /^(runs|E_DEVICE_UNAVAILABLE .+)\n$/
          : /^E_DEVICE_UNAVAILABLE there is no NVIDIA driver: install one that speaks CUDA \d+\.\d.*\n$/,
      );
    },
    600_000,
  );
});

it.skipIf(!nvcc)(
  `native/cuda compiles for every architecture${nvcc ? "" : " (skipped: needs nvcc, which is not here)"}`,
  async () => {
    await compileForGpu(tempDir());
  },
  600_000,
);
