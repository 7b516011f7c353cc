/*
 * The study page in headless Chromium, served by `llama2 study`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { CHROMIUM } from "./chromium.ts";
import { MAIN } from "./cli.ts";
import { ROOT } from "./golden.ts";
import { installConsumers } from "./packed.ts";

const require = createRequire(join(ROOT, "test", "consumers", "package.json"));

/** What is used of playwright-core, which only test/consumers installs. */
export interface Locator {
  click(options?: object): Promise<void>;
  fill(text: string): Promise<void>;
  press(key: string): Promise<void>;
  focus(): Promise<void>;
  textContent(): Promise<string | null>;
  inputValue(): Promise<string>;
  isVisible(): Promise<boolean>;
  count(): Promise<number>;
  first(): Locator;
  nth(index: number): Locator;
  getAttribute(name: string): Promise<string | null>;
  setInputFiles(files: string[]): Promise<void>;
  waitFor(options?: object): Promise<void>;
  allTextContents(): Promise<string[]>;
}
export interface Page {
  goto(url: string): Promise<unknown>;
  url(): string;
  locator(selector: string): Locator;
  keyboard: { press(key: string): Promise<void>; type(text: string): Promise<void> };
  setContent(html: string): Promise<void>;
  frames(): { evaluate<T>(code: string): Promise<T> }[];
  evaluate<T>(code: string): Promise<T>;
  waitForEvent(name: "download"): Promise<{ path(): Promise<string>; suggestedFilename(): string }>;
  setViewportSize(size: { width: number; height: number }): Promise<void>;
  emulateMedia(options: object): Promise<void>;
  screenshot(options: object): Promise<Uint8Array>;
  on(name: string, listener: (event: never) => void): void;
  close(): Promise<void>;
}
interface Browser {
  newPage(options: object): Promise<Page>;
  close(): Promise<void>;
}

/** The text of axe-core, to be run in a page. */
export const axe = (): string => readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

/** Wait until an expression is true in the page. (Playwright's own way is an eval, which the page's policy forbids.)
 * */
export async function until(page: Page, expression: string): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await page.evaluate<boolean>(`Boolean(${expression})`))) {
    if (Date.now() > deadline) throw new Error(`after a minute this is not so: ${expression}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Wait until the page has told what it was asked for. */
export const settled = (page: Page): Promise<void> => until(page, "document.body.matches('.ready:not(.busy)')");

/** What an element says. */
export const text = async (page: Page, selector: string): Promise<string> =>
  (await page.locator(selector).textContent()) ?? "";

/** What the address says, once it has been written. */
export async function hash(page: Page): Promise<URLSearchParams> {
  await page.evaluate("new Promise((resolve) => setTimeout(resolve, 200))");
  return new URLSearchParams(await page.evaluate<string>("location.hash.slice(1)"));
}

export interface Study {
  /** Where it is served. */
  url: string;
  /** A new page at a place in it, once it is ready, that has complained of nothing. */
  open(place?: string): Promise<Page>;
  /** A page of another site. */
  elsewhere(html: string): Promise<Page>;
  /** What pages have said on their consoles, and what they have asked of others than their server. */
  complaints: string[];
  close(): Promise<void>;
}

/** Serve the page with a model, and start a browser. */
export async function openStudy(...args: string[]): Promise<Study> {
  installConsumers();
  const { chromium } = require("playwright-core") as { chromium: { launch(options: object): Promise<Browser> } };
  const server = spawn(process.execPath, [MAIN, "study", "--no-open", ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const url = await firstLine(server);
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
  const complaints: string[] = [];
  return {
    url,
    complaints,
    async open(place = "") {
      const page = await browser.newPage({ viewport: { width: 1280, height: 860 }, acceptDownloads: true });
      page.on("console", (message: { type(): string; text(): string }) => {
        if (["error", "warning"].includes(message.type())) complaints.push(message.text());
      });
      page.on("pageerror", (error: Error) => complaints.push(`${error.stack}`));
      page.on("request", (request: { url(): string }) => {
        if (!request.url().startsWith(url) && !/^(blob|data):/.test(request.url())) complaints.push(request.url());
      });
      await page.goto(`${url}${place === "" ? "" : `#${place}`}`);
      await until(page, "document.body.matches('.ready:not(.busy)')");
      return page;
    },
    async elsewhere(html) {
      const page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
      await page.setContent(html);
      return page;
    },
    async close() {
      await browser.close();
      const ended = new Promise((resolve) => server.on("exit", resolve));
      server.kill();
      await ended;
    },
  };
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.stdout?.once("data", (data) => resolve(String(data).trim()));
    child.once("exit", (code) => reject(new Error(`llama2 study ended with ${code}`)));
  });
}
