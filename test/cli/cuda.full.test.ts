/*
 * --backend cuda, from the command to the kernels, which the emulator runs; and every way in which a GPU can be
 * unusable.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { canEmulateAddon } from "../../scripts/cuda-emulator.mjs";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { BUNDLED_MODEL } from "../../src/loadModel.ts";
import { hasAddon, needsAddon } from "../helpers/backends.ts";
import { checkpointFile, SHAPES } from "../helpers/checkpoint.ts";
import { llama2, type RunOptions } from "../helpers/cli.ts";
import { emulatedPackage, needsEmulator } from "../helpers/emulatedPackage.ts";
import {
  type GenerateCase,
  golden,
  hasShared,
  needsShared,
  ROOT,
  sharedFile,
  sharedGolden,
} from "../helpers/golden.ts";
import { checkpointBytes, type Fields, writeSparse } from "../helpers/sparse.ts";
import { tempDir } from "../helpers/temp.ts";
import { patched } from "../helpers/versions.ts";

const CUDA = ["--backend", "cuda"];

describe.skipIf(!canEmulateAddon)(`llama2 --backend cuda${needsEmulator}`, () => {
  let root: string;
  let tiny: string;
  beforeAll(() => {
    root = emulatedPackage();
    tiny = checkpointFile(SHAPES.tiny);
  });

  const run = (args: string[], env: Record<string, string> = {}, more: RunOptions = {}) =>
    llama2(args, { root, env, ...more });
  const story = async (args: string[], env: Record<string, string> = {}) => {
    const { code, stdout, stderr } = await run([...CUDA, "--json", ...args], env);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    return JSON.parse(stdout.toString());
  };
  /** What it says when it ends with 1 and prints nothing. */
  const refusal = async (args: string[], env: Record<string, string> = {}) => {
    const { code, stdout, stderr } = await run(args, env);
    expect({ code, stdout: stdout.toString() }, stderr).toEqual({ code: 1, stdout: "" });
    return stderr.trimEnd();
  };

  it("bench compares its rows with the speed of copying the device's memory", async () => {
    const args = [
      "--shape",
      "32,88,2,4,2,300,64",
      "-p",
      "0",
      "-n",
      "8",
      "-r",
      "1",
      "--precision",
      "fp32",
      "--batch",
      "1",
    ];
    const { code, stdout, stderr } = await run(["bench", "--backend", "cuda,ts", ...args, "--json"]);
    expect({ code }, stderr + stdout).toEqual({ code: 0 });
    const { bandwidth, rows } = JSON.parse(stdout.toString());
    expect(bandwidth).toContainEqual({
      device: "cuda",
      threads: 1,
      bytes: expect.any(Number),
      gbPerSecond: expect.any(Number),
      by: "copying",
    });
    for (const row of rows) expect(row.percentOfBandwidth).toBeGreaterThan(0);
  });

  describe("tells stories", () => {
    const goldens = golden<{ cases: GenerateCase[] }>("bundled-model.json").cases;

    it("the greedy story is run.c's, and so are the tokens after a prompt", async () => {
      const greedy = goldens.find((c) => c.temperature === 0 && c.prompt === "") as GenerateCase;
      expect((await story(["-t", "0", "-n", "60"])).tokens).toEqual(greedy.tokens.slice(0, 61));
      const prompted = goldens.find((c) => c.prompt.startsWith("Lily")) as GenerateCase;
      const { temperature, topp, seed, prompt } = prompted;
      const flags = ["-t", `${temperature}`, "-p", `${topp}`, "-s", seed, "-i", prompt, "-n", "40"];
      expect((await story(flags)).tokens).toEqual(prompted.tokens.slice(0, 41));
    });

    it.skipIf(!hasShared)(`stories260K's greedy one, past the first split of attention${needsShared}`, async () => {
      const [{ tokens }] = sharedGolden<{ cases: GenerateCase[] }>("generate-stories260K.json").cases;
      const flags = [sharedFile("models/stories260K.bin"), "-z", sharedFile("models/tok512.bin"), "-t", "0"];
      expect((await story([...flags, "-n", "100"])).tokens).toEqual(tokens.slice(0, 101));
    });

    it("many at once: each is the story that its seed gives alone, also when they do not all fit at once", async () => {
      const flags = ["-n", "10", "-i", "Lily and"];
      const alone = await Promise.all(["5", "6", "7"].map((seed) => story(["-s", seed, ...flags])));
      for (const EMULATOR_MEMORY of ["1000000000", "30000000"]) {
        const { stdout } = await run([...CUDA, "-N", "3", "-s", "5", "--json", ...flags], { EMULATOR_MEMORY });
        const lines = stdout.toString().trimEnd().split("\n");
        expect(lines.map((line) => JSON.parse(line).tokens)).toEqual(alone.map(({ tokens }) => tokens));
      }
    });

    it("prints logits, with prefill as well", async () => {
      const logits = ["logits", tiny, "--tokens", "1 5 9", ...CUDA];
      const [single, prefill] = await Promise.all([run(logits), run([...logits, "--prefill"])]);
      expect(single).toMatchObject({ code: 0, stdout: prefill.stdout });
      expect(prefill.stdout.length).toBe(3 * 300 * 4);
    });

    it("in every precision", async () => {
      for (const precision of ["fp32", "fp16", "int8"]) {
        const { tokens } = await story(["-t", "0", "-n", "8", "--precision", precision, "--kv-precision", "fp16"]);
        expect(tokens).toEqual(goldens[0].tokens.slice(0, 9));
      }
    });
  });

  it("stops at Ctrl-C within a few tokens, with 130", async () => {
    let pressed = 0;
    const tooLate = 10_000; // ms; the whole story takes several times that
    const { code, stdout } = await run(
      [...CUDA, "-n", "0", "-s", "1"],
      {},
      {
        onStdout: (child, soFar) => {
          if (pressed === 0) {
            child.kill("SIGINT");
            setTimeout(() => child.kill("SIGKILL"), tooLate).unref();
          }
          pressed ||= soFar.length;
        },
      },
    );
    expect(code).toBe(130);
    expect(stdout.length).toBeLessThan(pressed + 100); // of more than a thousand characters
  });

  it("--json names the backend, and auto says that text may differ", async () => {
    expect(await story(["-n", "2", "-s", "1"])).toMatchObject({ backend: "cuda", threads: 1 });
    const { stdout, stderr } = await run(["-n", "2", "-s", "1", "--json"]);
    expect(JSON.parse(stdout.toString()).backend).toBe("cuda");
    expect(stderr).toMatch(/^running on cuda: sampled text may differ from llama2\.c's.*\n/);
  });

  describe("refuses", () => {
    const LLAMA_2_7B: Fields = [4096, 11008, 32, 32, 32, -32000, 2048];
    const llama = (name: string) => {
      const path = join(tempDir(), name);
      writeSparse(path, LLAMA_2_7B, checkpointBytes(LLAMA_2_7B));
      return path;
    };

    it("a model that does not fit, before it allocates anything, with the numbers", async () => {
      const card = { EMULATOR_MEMORY: "11900000000" };
      const model = llama("llama-2-7b.bin");
      const logits = ["logits", model, "--tokens", "1", ...CUDA];
      expect(await refusal([...logits, "--precision", "fp16"], card)).toMatch(
        /^llama2: llama-2-7b at context 2048 needs 14\.6 GB in fp16, 8\.3 GB in int8; this card has 11\.9 GB free: int8 fits: --precision int8 \(E_DEVICE_OOM\)$/,
      );
      expect(await refusal(logits, { EMULATOR_MEMORY: "5000000000" })).toMatch(
        /needs 2[78]\.\d GB in fp32, 14\.\d GB in fp16, [78]\.\d GB in int8; this card has 5\.0 GB free\. A shorter context needs less: --context N \(E_DEVICE_OOM\)$/,
      );
    });

    it("a GPU that does not exist, with a list of those that do", async () => {
      expect(await refusal([...CUDA, "--device", "3"], { EMULATOR_DEVICES: "2" })).toBe(
        "llama2: there is no device 3; this machine has 0: emulator, 1: emulator (E_DEVICE_UNAVAILABLE)",
      );
    });

    it("a GPU whose memory is used by other programs, and runs on another GPU that is named", async () => {
      const env = { EMULATOR_DEVICES: "2", EMULATOR_BUSY: "0" };
      expect(await refusal(CUDA, env)).toMatch(/this card has 0\.0000 GB free.*\(E_DEVICE_OOM\)$/);
      expect(await story(["--device", "1", "-n", "1", "-s", "1"], env)).toMatchObject({ backend: "cuda" });
    });

    it.each<[what: string, env: Record<string, string>, message: string]>([
      ["no GPU", { EMULATOR_DEVICES: "0" }, "there is no NVIDIA GPU"],
      [
        "GPUs hidden",
        { EMULATOR_DEVICES: "0", CUDA_VISIBLE_DEVICES: "7" },
        'there is no NVIDIA GPU: CUDA_VISIBLE_DEVICES is "7"',
      ],
      [
        "no driver",
        { EMULATOR_DRIVER: "0" },
        "there is no NVIDIA driver: install one that speaks CUDA 12.0 (release 525 or newer)",
      ],
      [
        "a driver that is too old, whose release is not told",
        { EMULATOR_DRIVER: "11080" },
        "the driver speaks CUDA 11.8, this build needs 12.0: update the driver",
      ],
      [
        "a GPU that is too old",
        { EMULATOR_COMPUTE: "6" },
        "emulator is older than Turing, the oldest GPU that can run this",
      ],
      [
        "a build for other cards",
        { EMULATOR_FOREIGN: "1" },
        "this build has no code for this card: `npm run build:cuda` rebuilds it (convert: cudaErrorNoKernelImageForDevice, cudaErrorNoKernelImageForDevice)",
      ],
    ])("to run with %s, with what to do", async (_, env, message) => {
      expect(await refusal(CUDA, env)).toBe(`llama2: ${message} (E_DEVICE_UNAVAILABLE)`);
    });

    it("to run with a driver that is too old, with both versions and both remedies", async () => {
      const file = join(tempDir(), "version");
      writeFileSync(file, "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n");
      const env = { EMULATOR_DRIVER: "12020", EMULATOR_RUNTIME: "13000", EMULATOR_DRIVER_FILE: file };
      expect(await refusal(CUDA, env)).toBe(
        "llama2: driver 535 speaks CUDA 12.2, this build needs 13.0: update the driver, or rebuild with a 12.x toolkit (E_DEVICE_UNAVAILABLE)",
      );
    });

    it("a model whose logits are not finite, with the message of every backend", async () => {
      const { config } = await openFile(BUNDLED_MODEL);
      const broken = patched(BUNDLED_MODEL, (view) => view.setFloat32(28 + 4 * config.dim, NaN, true)); // BOS
      const flags = [broken, "-z", join(ROOT, "models", "tok2048.bin"), "-s", "1"];
      const { code, stderr } = await run([...CUDA, ...flags]);
      expect(code).toBe(1);
      expect(stderr).toBe((await run(["--backend", "ts", ...flags])).stderr);
      expect(stderr).toContain("E_NUMERIC");
    });

    it("to continue after a kernel has failed", async () => {
      const { code, stderr } = await run([...CUDA, "-s", "1"], { EMULATOR_FAULT: "400" });
      expect(code).toBe(1);
      expect(stderr).toMatch(
        /cudaErrorIllegalAddress.*\. This process cannot use the GPU any more: start it again \(E_DEVICE_LOST\)\n$/,
      );
    });
  });

  it.each([
    ["--backend", "cpu", "--precision", "fp16"],
    ["--backend", "ts", "--device", "0"],
    ["--precision", "fp64"],
    ["--kv-precision", "int8"],
    ["--device", "-1"],
    ["--device", "x"],
  ])("an invalid flag is refused with exit code 2: %s %s %s %s", async (...args) => {
    const { code, stdout } = await run(args);
    expect({ code, stdout: stdout.toString() }).toEqual({ code: 2, stdout: "" });
  });

  describe("auto", () => {
    const storyFrom = async (copy: string, args: string[] = [], env: Record<string, string> = {}) => {
      const { code, stdout, stderr } = await llama2(["-n", "1", "-s", "1", "--json", ...args], { root: copy, env });
      return { code, stderr, backend: code === 0 ? JSON.parse(stdout.toString()).backend : "" };
    };
    const crashing = "not a library";

    it.skipIf(!hasAddon)(`runs the next backend, and says why in one line${needsAddon}`, async () => {
      for (const [env, why] of [
        [{ EMULATOR_DEVICES: "0" }, "there is no NVIDIA GPU"],
        [{ EMULATOR_MEMORY: "1000000" }, /stories2M at context \d+ needs .* this card has 0\.0010 GB free/],
        [{ EMULATOR_FAULT: "3" }, /cudaErrorIllegalAddress/],
        [{ EMULATOR_FOREIGN: "1" }, "this build has no code for this card"],
      ] as const) {
        const { code, backend, stderr } = await storyFrom(root, [], env);
        expect({ code, backend }).toEqual({ code: 0, backend: "cpu" });
        expect(stderr).toMatch(/^running on cpu: [^\n]*\n/);
        expect(stderr).toMatch(why);
      }
      expect((await storyFrom(emulatedPackage({ addon: crashing }))).stderr).toMatch(
        /^running on cpu: the CUDA addon .* does not load here/,
      );
    });

    it.skipIf(!hasAddon)(`without a driver does not try the addon, and says so${needsAddon}`, async () => {
      const { stderr, backend } = await storyFrom(emulatedPackage({ addon: crashing, driver: false }));
      expect(backend).toBe("cpu");
      expect(stderr).toBe("running on cpu: the CUDA addon has been built, but there is no NVIDIA driver\n");
    });

    it("does not fall back if a precision or a GPU was asked for", async () => {
      for (const flags of [
        ["--precision", "fp16"],
        ["--device", "0"],
      ]) {
        expect(await storyFrom(root, flags, { EMULATOR_DEVICES: "0" })).toMatchObject({ code: 1 });
        expect(await storyFrom(root, flags)).toMatchObject({ code: 0, backend: "cuda" });
      }
    });

    it.each(["ts", "wasm", ...(hasAddon ? ["cpu"] : [])])(
      "is not what --backend %s is: it never touches CUDA",
      async (name) => {
        const copy = emulatedPackage({ addon: crashing });
        expect(await storyFrom(copy, ["--backend", name])).toMatchObject({ code: 0, backend: name, stderr: "" });
      },
    );
  });
});
