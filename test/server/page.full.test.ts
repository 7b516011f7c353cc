/*
 * The server's page in Chromium: it shows the same story as the command line, and can be stopped.
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CHROMIUM, hasChromium, needsChromium } from "../helpers/chromium.ts";
import { llama2 } from "../helpers/cli.ts";
import { ROOT } from "../helpers/golden.ts";
import { installConsumers } from "../helpers/packed.ts";
import { type ServeCommand, startServe } from "../helpers/serveCommand.ts";

/** What is used of playwright-core, which only test/consumers installs. */
interface Page {
  on(event: string, listener: (said: { text?(): string; message?: string }) => void): void;
  goto(url: string): Promise<unknown>;
  fill(selector: string, text: string): Promise<void>;
  click(selector: string): Promise<void>;
  textContent(selector: string): Promise<string>;
  waitForSelector(selector: string): Promise<unknown>;
}
interface Browser {
  newPage(): Promise<Page>;
  close(): Promise<void>;
}

describe.skipIf(!hasChromium)(`the page${needsChromium}`, () => {
  let browser: Browser;
  let serving: ServeCommand;
  beforeAll(async () => {
    installConsumers();
    const { chromium } = createRequire(join(ROOT, "test", "consumers", "package.json"))("playwright-core");
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
  }, 300_000);
  afterAll(() => browser?.close());

  async function open(args: string[] = []) {
    serving = await startServe(args);
    const page = await browser.newPage();
    const said: string[] = [];
    page.on("console", (message) => said.push(message.text?.() ?? ""));
    page.on("pageerror", (error) => said.push(error.message ?? ""));
    await page.goto(serving.url);
    return { page, said };
  }
  async function close() {
    serving.child.kill("SIGTERM");
    await serving.ended;
  }
  const statusHas = (words: string) => `#status:has-text("${words}")`;

  it("tells the command line's story for a prompt and a seed, without errors in the console", async () => {
    const { page, said } = await open();
    await page.fill("#prompt", "Once upon a time");
    await page.fill("#seed", "4");
    await page.click("#tell");
    await page.waitForSelector(statusHas("tokens"));
    const { stdout } = await llama2(["-i", "Once upon a time", "-s", "4"]);
    expect(`${await page.textContent("#story")}\n`).toBe(stdout.toString());
    expect(said).toEqual([]);
    await close();
  });

  it("says what is wrong, and asks for a key where one is needed", async () => {
    const { page } = await open(["--api-key", "secret"]);
    await page.waitForSelector(statusHas("needs its key"));
    await page.fill("#key", "secret");
    await page.fill("#prompt", "word ".repeat(1000));
    await page.click("#tell");
    await page.waitForSelector(statusHas("the context holds"));
    await close();
  });
});
