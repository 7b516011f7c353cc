import { execFileSync, spawnSync } from "node:child_process";
import fs, { chmodSync, closeSync, existsSync, mkdirSync, openSync, truncateSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { openFile } from "../../src/checkpoint/openFile.ts";
import { readTokenizer } from "../../src/checkpoint/tokenizer/find.ts";
import { InputFile } from "../../src/files/inputFile.ts";
import { MAIN } from "../helpers/cli.ts";
import { expectRefusal, expectRejection } from "../helpers/errors.ts";
import { frugallyAsync } from "../helpers/frugally.ts";
import { tempDir } from "../helpers/temp.ts";

const posix = process.platform !== "win32";
const isRoot = process.getuid?.() === 0;

/** All functions that read an untrusted file. */
const readers: [what: string, read: (path: string) => Promise<unknown>][] = [
  ["a checkpoint", openFile],
  ["a tokenizer", async (path) => readTokenizer(path)],
];

describe.each(readers)("a path given as %s", (_, read) => {
  it("may be an empty file", async () => {
    const path = join(tempDir(), "empty.bin");
    writeFileSync(path, "");
    await expectRejection(
      frugallyAsync(() => read(path)),
      "E_FORMAT",
      path,
      /empty|0 bytes/,
    );
  });

  it("may be a directory", async () => {
    const path = join(tempDir(), "folder.bin");
    mkdirSync(path);
    await expectRejection(read(path), "E_FORMAT", path, "a directory, expected a file");
  });

  it.skipIf(!existsSync("/dev/zero"))("may be a device without an end", async () => {
    await expectRejection(
      frugallyAsync(() => read("/dev/zero")),
      "E_FORMAT",
      "/dev/zero",
      "a device, expected a file",
    );
  });

  it("may not exist", async () => {
    const path = join(tempDir(), "nothing.bin");
    await expectRejection(read(path), "E_FILE", `cannot open ${path}: there is no such file`);
    await expectRejection(read(join(path, "within.bin")), "E_FILE", "there is no such file");
    await expectRejection(read(""), "E_FILE", 'cannot open ""');
  });

  it.skipIf(!posix || isRoot)("may belong to another user", async () => {
    const path = join(tempDir(), "secret.bin");
    writeFileSync(path, "secret");
    chmodSync(path, 0);
    await expectRejection(read(path), "E_FILE", path, "no permission to read it");
  });

  it("may have a name that no file can have", async () => {
    await expectRejection(read("model\0.bin"), "E_FILE", "cannot open");
  });
});

it("a file whose size cannot be read is refused, and closed", () => {
  const path = join(tempDir(), "model.bin");
  writeFileSync(path, "");
  // the lowest number that is free, so it is the same as long as nothing stays open
  const nextFd = () => {
    const fd = openSync(path, "r");
    closeSync(fd);
    return fd;
  };
  const before = nextFd();
  const { fstatSync } = fs;
  fs.fstatSync = () => {
    throw new Error("EIO: i/o error, fstat");
  };
  syncBuiltinESMExports();
  try {
    expectRefusal(() => new InputFile(path), "E_FILE", `cannot open ${path}: EIO`);
  } finally {
    fs.fstatSync = fstatSync;
    syncBuiltinESMExports();
  }
  expect(nextFd()).toBe(before);
});

// in a process of its own: who waits for a writer cannot be stopped from within
describe.skipIf(!posix).each([
  ["a checkpoint", (pipe: string) => ["logits", pipe, "--tokens", "1"]],
  ["a tokenizer", (pipe: string) => ["tokenize", "-z", pipe, "text"]],
])("a pipe that is named as %s", (_, args) => {
  it("is refused without waiting for a writer", () => {
    const pipe = join(tempDir(), "pipe.bin");
    execFileSync("mkfifo", [pipe]);
    const { status, stderr } = spawnSync(process.execPath, [MAIN, ...args(pipe)], { timeout: 20_000 });
    expect(stderr.toString()).toContain(`${pipe} is a pipe, expected a file (E_FORMAT)`);
    expect(status).toBe(1);
  });
});

describe("InputFile", () => {
  it("says where a file ends if it was shortened after it was opened", () => {
    const path = join(tempDir(), "file");
    writeFileSync(path, "0123456789");
    const file = new InputFile(path);
    truncateSync(path, 6);
    expectRefusal(() => file.read(new Uint8Array(5), 4), "E_FORMAT", path, "it had 10 bytes", "ends at byte 6");
    file.close();
  });

  // a file of the kernel that can be opened, but not read: as a failing disk
  const unreadable = "/sys/class/net/lo/speed";
  it.skipIf(!existsSync(unreadable))("says what failed when an open file cannot be read", () => {
    const file = new InputFile(unreadable);
    expectRefusal(() => file.read(new Uint8Array(5), 0), "E_FILE", `cannot read ${unreadable} at byte 0`, "EINVAL");
    file.close();
  });

  it("closes every file that it refuses", async () => {
    const folder = tempDir();
    const close = vi.spyOn(InputFile.prototype, "close");
    expectRefusal(() => new InputFile(folder), "E_FORMAT");
    expect(close).toHaveBeenCalledTimes(1);
    close.mockClear();
    const path = join(folder, "page.bin");
    writeFileSync(path, "<html>");
    await expectRejection(openFile(path), "E_FORMAT");
    expectRefusal(() => readTokenizer(path), "E_FORMAT");
    expect(close).toHaveBeenCalledTimes(2);
  });
});
