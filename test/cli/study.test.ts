import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { llama2 } from "../helpers/cli.ts";
import { ROOT } from "../helpers/golden.ts";
import { tempDir } from "../helpers/temp.ts";

/** Start `llama2 study`, do something with its URL, and end it by a signal. */
async function withStudy(
  args: string[],
  work: (url: string) => Promise<void>,
  signal: "SIGINT" | "SIGTERM" = "SIGINT",
) {
  let worked: Promise<void> | undefined;
  const finished = await llama2(["study", "--no-open", ...args], {
    onStdout: (child, soFar) => {
      if (!soFar.endsWith("\n")) return;
      worked ??= work(soFar.trim()).finally(() => child.kill(signal));
    },
  });
  await worked;
  return finished;
}

/** A request with any path and headers, as fetch does not allow. */
const ask = (url: string, path: string, headers: Record<string, string> = {}, method = "GET") =>
  new Promise<number | undefined>((resolve, reject) => {
    const { hostname, port } = new URL(url);
    request({ hostname, port, path, method, headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on("error", reject)
      .end();
  });

describe.concurrent("study", () => {
  it("serves the page, the model and its tokenizer on 127.0.0.1, and exits with 0 on Ctrl-C", async () => {
    const { code, stderr } = await withStudy(["-i", "One day"], async (url) => {
      expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
      const page = (await (await fetch(`${url}page.json`)).json()) as { model: string; tokenizer: string };
      expect(page).toEqual({ model: "model/stories2M.bin", tokenizer: "tokenizer/tok2048.bin", prompt: "One day" });
      for (const [path, file] of [
        ["", "dist/study/index.html"],
        ["study.js", "dist/study/study.js"],
        [page.model, "models/stories2M.bin"],
        [page.tokenizer, "models/tok2048.bin"],
      ]) {
        const response = await fetch(url + path);
        expect(Buffer.from(await response.arrayBuffer()).equals(readFileSync(join(ROOT, file)))).toBe(true);
        expect(response.headers.get("x-content-type-options")).toBe("nosniff");
      }
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  });

  it("serves no other file, and no other host", async () => {
    const { code } = await withStudy(
      [],
      async (url) => {
        for (const path of [
          "/package.json",
          "/../package.json",
          "/model/../page.json",
          "/models/stories2M.bin",
          "/%2e%2e/x",
        ]) {
          expect({ path, status: await ask(url, path) }).toEqual({ path, status: 404 });
        }
        expect(await ask(url, "/", { Host: "example.com" })).toBe(403);
        expect(await ask(url, "/", { Host: "localhost" })).toBe(200);
        expect(await ask(url, "/", {}, "POST")).toBe(405);
      },
      "SIGTERM",
    );
    expect(code).toBe(0);
  });

  it("says what is wrong with a model, a folder, and a port in use", async () => {
    const cwd = tempDir();
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const folder = join(cwd, "hf");
    await llama2(["convert", join(ROOT, "models", "stories2M.bin"), folder, "--to", "safetensors"]);
    for (const [args, status, message] of [
      [["none.bin"], 1, "(E_FILE)"],
      [[join(ROOT, "package.json")], 1, "(E_FORMAT)"],
      [[folder], 2, "convert"],
      [["--port", `${port}`], 1, "it is taken"],
      [["--port", "70000"], 2, "(E_USAGE)"],
    ] as const) {
      const { code, stderr } = await llama2(["study", "--no-open", ...args], { cwd });
      expect({ args, code }).toEqual({ args, code: status });
      expect(stderr).toContain(message);
    }
    server.close();
  });
});

describe.skipIf(process.platform !== "linux")("trace --open", () => {
  it("opens the page at the stop, position and changes asked for", async () => {
    const bin = tempDir();
    const opened = join(bin, "opened");
    writeFileSync(join(bin, "xdg-open"), `#!/bin/sh\nprintf %s "$1" > "${opened}"\n`, { mode: 0o755 });
    const asked = ["-i", "One day", "--pos", "5", "-t", "0.5", "-p", "0.8", "-s", "7"];
    const { code } = await llama2(["trace", ...asked, "--at", "att", "--layer", "2", "--ablate", "L1.H0", "--open"], {
      env: { PATH: `${bin}:${process.env.PATH}` },
      onStdout: async (child, soFar) => {
        if (!soFar.endsWith("\n")) return;
        while (!existsSync(opened) || readFileSync(opened).length === 0) await new Promise((r) => setTimeout(r, 10));
        expect(readFileSync(opened, "utf8")).toBe(soFar.trim());
        child.kill("SIGINT");
      },
    });
    expect(code).toBe(0);
    const url = new URL(readFileSync(opened, "utf8"));
    expect(url.hostname).toBe("127.0.0.1");
    expect(Object.fromEntries(new URLSearchParams(url.hash.slice(1)))).toEqual({
      ...{ view: "step", prompt: "One day", pos: "5", stop: `${1 + 2 * 16 + 6}` },
      ...{ seed: "7", temp: "0.5", topp: "0.8", more: "27", off: "L1.H0" },
    });
  });
});

describe("the page", () => {
  it("is small: all its files but model and tokenizer have less than 400,000 bytes, gzipped", () => {
    const files = ["index.html", "study.js", "style.css", "kernels.wasm"];
    const bytes = files.map((file) => gzipSync(readFileSync(join(ROOT, "dist", "study", file))).length);
    expect(bytes.reduce((a, b) => a + b)).toBeLessThan(400_000);
  });

  it("loads nothing from other servers", () => {
    const text = readFileSync(join(ROOT, "dist", "study", "index.html"), "utf8");
    expect(text).toContain("default-src 'none'");
    expect(text).not.toMatch(/(src|href)="(https?:)?\/\//);
  });
});
