import { copyFileSync, existsSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { ADDON_PATH, loadAddon } from "../../src/backend/cpu/addon.ts";
import { probe } from "../../src/backend/probe.ts";
import { hasAddon, needsAddon } from "../helpers/backends.ts";
import { tempDir } from "../helpers/temp.ts";

const OK = { ok: true, code: "", reason: "" };
const isLinux = process.platform === "linux";
const file = () => join(tempDir(), "addon.node");

/** An ELF library all of whose code is an instruction that no processor has (on x86-64; nonsense elsewhere). */
function withCodeReplaced(elf: Buffer): Buffer {
  const [EXECUTABLE, ILLEGAL] = [1, "\x0f\x0b"];
  const segments = Number(elf.readBigUInt64LE(32));
  for (let i = 0; i < elf.readUInt16LE(56); i++) {
    const header = segments + 56 * i;
    if ((elf.readUInt32LE(header + 4) & EXECUTABLE) === 0) continue;
    const offset = Number(elf.readBigUInt64LE(header + 8));
    elf.fill(ILLEGAL, offset, offset + Number(elf.readBigUInt64LE(header + 32)), "latin1");
  }
  return elf;
}

/** Do `work` in a process whose executable is another. */
function inExecutable<T>(path: string, work: () => T): T {
  const before = process.execPath;
  process.execPath = path;
  try {
    return work();
  } finally {
    process.execPath = before;
  }
}

/** An executable that counts how often it was started, as an application would open again. */
function trap(name: string): { executable: string; starts: () => number } {
  const folder = tempDir();
  const executable = join(folder, name);
  writeFileSync(executable, `#!/bin/sh\necho started >> '${folder}/starts'\n`, { mode: 0o755 });
  const log = join(folder, "starts");
  return { executable, starts: () => (existsSync(log) ? readFileSync(log, "utf8").trim().split("\n").length : 0) };
}

describe.skipIf(!hasAddon)(`probing a native file${needsAddon}`, () => {
  const copied = () => {
    const path = file();
    copyFileSync(ADDON_PATH, path);
    return path;
  };

  it("accepts a good one, and remembers that", () => {
    const path = copied();
    expect(probe(path)).toEqual(OK);
    expect(existsSync(`${path}.probe`)).toBe(true);
    expect(inExecutable("/nonexistent/node", () => probe(path))).toEqual(OK); // no process was started
  });

  it.each(["electron", "my-app", "bun", "node-app"])("starts nothing from an executable called %s", (name) => {
    const path = copied();
    const { executable, starts } = trap(name);
    expect(inExecutable(executable, () => probe(path))).toEqual({
      ok: false,
      code: "UNTRIED",
      reason: `it has not been tried, and ${executable} is not known to be node, so it is not started to try it`,
    });
    expect(starts()).toBe(0);
    expect(existsSync(`${path}.probe`)).toBe(false);
  });

  it("starts no process from Electron, whatever its executable is called", () => {
    const path = copied();
    const { executable, starts } = trap("node");
    const versions = vi.spyOn(process, "versions", "get").mockReturnValue({ ...process.versions, electron: "45.0.0" });
    try {
      expect(inExecutable(executable, () => probe(path)).code).toBe("UNTRIED");
      expect(starts()).toBe(0);
    } finally {
      versions.mockRestore();
    }
  });

  it("starts no process from one that a probe started", () => {
    const path = copied();
    const { executable, starts } = trap("node");
    vi.stubEnv("LLAMA2_PROBE", "1");
    try {
      expect(inExecutable(executable, () => probe(path)).code).toBe("UNTRIED");
      expect(starts()).toBe(0);
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it("starts an executable that is called node (which shows that the two tests above can fail)", () => {
    const { executable, starts } = trap("node");
    inExecutable(executable, () => probe(copied()));
    expect(starts()).toBe(1);
  });

  it("trusts the build's probe where no process can be started, and on another machine", () => {
    const path = copied();
    probe(path);
    const [bytes] = readFileSync(`${path}.probe`, "utf8").split("\n");
    writeFileSync(`${path}.probe`, `${bytes}\nanother machine\n`);
    expect(inExecutable("/opt/My App/app", () => probe(path))).toEqual(OK);
    expect(inExecutable("/nonexistent/node", () => probe(path))).toEqual(OK);
    truncateSync(path, 10_000);
    expect(inExecutable("/opt/My App/app", () => probe(path)).ok).toBe(false);
  });

  it("ignores the probe result of another file", () => {
    const path = copied();
    probe(path);
    truncateSync(path, 10_000);
    expect(probe(path).ok).toBe(false);
  });

  it("ignores a probe result that was written for another machine", () => {
    const path = copied();
    truncateSync(path, 10_000);
    writeFileSync(`${path}.probe`, "ok");
    expect(probe(path).ok).toBe(false);
  });

  it.each([100, 5000, 100_000])("gives a reason for a file cut to %i bytes", (size) => {
    const path = copied();
    truncateSync(path, size);
    const { ok, code, reason } = probe(path);
    expect({ ok, code }).not.toMatchObject({ ok: true });
    expect(reason).not.toBe("");
  });

  it.skipIf(!isLinux)("survives a file that crashes when it is loaded", () => {
    const path = copied();
    writeFileSync(path, withCodeReplaced(readFileSync(path)));
    const { ok, code, reason } = probe(path);
    expect({ ok, reason }).toEqual({ ok: false, reason: "loading it crashes" });
    expect(code).toMatch(/^SIG(ILL|SEGV|TRAP)$/);
  });
});

describe("probing something else", () => {
  it.each([
    ["an empty file", ""],
    ["a text", "not a library\n"],
    ["a web page", "<html></html>"],
  ])("%s", (_, text) => {
    const path = file();
    writeFileSync(path, text);
    expect(probe(path)).toMatchObject({ ok: false, code: "ERR_DLOPEN_FAILED" });
    expect(existsSync(`${path}.probe`)).toBe(false);
  });

  it.skipIf(!isLinux)("a library that is not an addon", () => {
    const path = file();
    const { sharedObjects } = process.report.getReport() as { sharedObjects: string[] };
    copyFileSync(sharedObjects.find((library) => library.includes("/libm.so")) ?? "", path);
    expect(probe(path)).toEqual({
      ok: false,
      code: "ERR_DLOPEN_FAILED",
      reason: expect.stringContaining("self-register"),
    });
  });

  it("a folder", () => {
    expect(probe(tempDir())).toMatchObject({ ok: false, code: "EISDIR" });
    expect(() => loadAddon(tempDir())).toThrow(expect.objectContaining({ code: "E_DEVICE_UNAVAILABLE" }));
  });

  it("a file that does not load is refused with the reason and what to do", () => {
    const path = file();
    writeFileSync(path, "not a library\n");
    expect(() => loadAddon(path)).toThrow(
      /addon\.node does not load here \(ERR_DLOPEN_FAILED: .+\): `npm run build:native` rebuilds it$/,
    );
    expect(() => loadAddon(`${path}.absent`)).toThrow(/has not been built: `npm run build:native`/);
  });
});
