/*
 * A page in headless Chromium, from a server on this machine with some files.
 */
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { CHROMIUM } from "./chromium.ts";
import { ROOT } from "./golden.ts";
import { installConsumers } from "./packed.ts";
import { tempDir } from "./temp.ts";

const TYPES: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export interface Page {
  /** The value of the body of an async function, which runs in the page and finds `argument`. */
  run<T>(body: string, argument?: unknown): Promise<T>;
  close(): Promise<void>;
}

/** What is used of playwright-core, which only test/consumers installs. */
interface Playwright {
  chromium: {
    launchPersistentContext(
      folder: string,
      options: object,
    ): Promise<{
      newPage(): Promise<{ goto(url: string): Promise<unknown>; evaluate(code: string): Promise<unknown> }>;
      close(): Promise<void>;
    }>;
  };
}

/**
 * Open an empty page.
 * @param folders what the server has, by the first word of a path: { llama2: "/.../dist/browser" } for
 * /llama2/index.js
 */
export async function openPage(folders: Record<string, string>): Promise<Page> {
  installConsumers();
  const { chromium } = createRequire(join(ROOT, "test", "consumers", "package.json"))("playwright-core") as Playwright;
  const server = createServer(({ url = "" }, response) => {
    const [, folder, ...rest] = new URL(url, "http://localhost").pathname.split("/");
    const path = join(folders[folder] ?? "", ...rest);
    if (url === "/") response.setHeader("Content-Type", "text/html").end("<!doctype html><title>test</title>");
    else if (!(folder in folders) || !existsSync(path)) response.writeHead(404).end();
    else response.setHeader("Content-Type", TYPES[extname(path)] ?? "application/octet-stream").end(readFileSync(path));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const browser = await chromium.launchPersistentContext(tempDir(), { executablePath: CHROMIUM, args: FLAGS });
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${port}/`);
  return {
    run: async (body, argument) =>
      (await page.evaluate(`(async (argument) => {${body}})(${JSON.stringify(argument)})`)) as never,
    async close() {
      await browser.close();
      server.close();
    },
  };
}
