/*
 * Disks that are full or may not be written: small file systems in memory, which root can mount on Linux.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { llama2 } from "../helpers/cli.ts";
import { hubEnv, startHub } from "../helpers/hub.ts";
import { tempDir } from "../helpers/temp.ts";

const bytes = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 7919) >> 3);
const hub = await startHub({ "an-org/a-repo": { "a.gguf": bytes } });

const mounted: string[] = [];
function mount(options: string): string | undefined {
  const folder = tempDir();
  if (spawnSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", folder]).status !== 0) return undefined;
  mounted.push(folder);
  return folder;
}
const probe = process.platform === "linux" ? mount("size=64k") : undefined;
const needsMount = probe ? "" : " (skipped: needs to mount a tmpfs, which is not allowed here)";
afterAll(() => {
  for (const folder of mounted) spawnSync("umount", [folder]);
});

describe.skipIf(!probe)(`a disk${needsMount}`, () => {
  it("without enough space is refused before anything is downloaded", async () => {
    const cache = mount("size=2m") as string;
    hub.sent = 0;
    const { code, stderr } = await llama2(["pull", "an-org/a-repo"], { env: hubEnv(hub, cache) });
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^llama2: an-org\/a-repo takes 3,000,000 bytes, and the disk of .* has [\d,]+ bytes \(E_FILE\)\n$/,
    );
    expect(hub.sent).toBe(0);
  });

  it("that fills up meanwhile keeps the part downloaded, and the next download continues from it", async () => {
    const cache = mount("size=4m") as string;
    hub.behave = (request, _, at) => {
      // another program fills the disk once the download has begun
      if (at === "bytes" && !existsSync(join(cache, "other")))
        writeFileSync(join(cache, "other"), Buffer.alloc(2_000_000));
      return request.url === undefined;
    };
    const { code, stderr } = await llama2(["pull", "an-org/a-repo"], { env: hubEnv(hub, cache) });
    hub.behave = undefined;
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /the disk is full\. [\d,]+ bytes of it are kept: what comes next begins there \(E_FILE\)\n$/,
    );
    const blobs = join(cache, "models--an-org--a-repo", "blobs");
    const [part] = readdirSync(blobs);
    expect(readdirSync(blobs).length).toBe(1);
    const kept = statSync(join(blobs, part)).size;
    expect(new Uint8Array(readFileSync(join(blobs, part)))).toEqual(bytes.subarray(0, kept));
    writeFileSync(join(cache, "other"), "");
    const again = await llama2(["pull", "an-org/a-repo", "--json"], { env: hubEnv(hub, cache) });
    expect({ code: again.code }, again.stderr).toEqual({ code: 0 });
    expect(JSON.parse(again.stdout.toString()).downloadedBytes).toBe(bytes.length - kept);
  });

  it("that may not be written is named as such", async () => {
    const cache = mount("ro") as string;
    const { code, stderr } = await llama2(["pull", "an-org/a-repo"], { env: hubEnv(hub, cache) });
    expect(code).toBe(1);
    expect(stderr).toMatch(/cannot write .*: no permission to write there.*\(E_FILE\)\n$/);
  });

  it("that is read-only still gives the models on it", async () => {
    const cache = mount("size=8m") as string;
    mkdirSync(join(cache, "x"));
    await llama2(["pull", "an-org/a-repo"], { env: hubEnv(hub, cache) });
    spawnSync("mount", ["-o", "remount,ro", cache]);
    const { code, stdout, stderr } = await llama2(["pull", "an-org/a-repo", "--json"], { env: hubEnv(hub, cache) });
    expect({ code }, stderr).toEqual({ code: 0 });
    expect(JSON.parse(stdout.toString()).downloadedBytes).toBe(0);
  });
});
