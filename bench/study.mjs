/*
 * Measures the study page in headless Chromium: the time until its first step is drawn, the time of a step, and the memory
 * of its renderer compared with an empty page. --picture makes the README's picture of it instead.
 */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { root } from "../scripts/fingerprint.mjs";
import { commit, machine } from "./machine.mjs";
import { summary } from "./samples.mjs";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const { values } = parseArgs({
  options: {
    model: { type: "string" },
    tokenizer: { type: "string" },
    rounds: { type: "string", default: "5" },
    out: { type: "string" },
    picture: { type: "string" },
  },
});
const consumers = join(root, "test", "consumers", "package.json");
if (!existsSync(CHROMIUM) || !existsSync(join(root, "test", "consumers", "node_modules", "playwright-core"))) {
  console.error(`needs Chromium at ${CHROMIUM} (or CHROMIUM), and npm ci in test/consumers`);
  process.exit(2);
}
const { chromium } = createRequire(consumers)("playwright-core");

/** Serve the page. */
async function serve(...args) {
  const server = spawn(process.execPath, [join(root, "dist", "node", "main.js"), "study", "--no-open", ...args]);
  const url = await new Promise((resolve) => server.stdout.once("data", (data) => resolve(String(data).trim())));
  return { url, close: () => server.kill() };
}

const launch = () => chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });

async function ready(page) {
  while (!(await page.evaluate("document.body.matches('.ready:not(.busy)')"))) await page.waitForTimeout(10);
}

/** Milliseconds of `count` steps in a page: until a step is drawn, and until the frame with it is on the screen. */
function steps(page, count) {
  return page.evaluate(`(async () => {
    const { port1, port2 } = new MessageChannel();
    const painted = () => new Promise((resolve) => {
      port1.onmessage = resolve; // comes after the frame in which it is asked for
      requestAnimationFrame(() => port2.postMessage(undefined));
    });
    const all = [];
    for (let i = 0; i < ${count}; i++) {
      const start = performance.now();
      document.querySelector("#next").click(); // draws before it returns
      const drawn = performance.now() - start;
      await painted();
      all.push({ drawn, shown: performance.now() - start });
    }
    return all;
  })()`);
}

/** Milliseconds from the navigation until the first step is drawn, and of each of the steps after it. */
async function timings(url) {
  const browser = await launch();
  const page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
  await page.goto(url);
  await ready(page);
  const firstStep = await page.evaluate(`performance.getEntriesByName("first step")[0]?.startTime`);
  const taken = await steps(page, 166);
  await browser.close();
  return { firstStep, steps: taken };
}

/** The same of steps at the end of a context of 512 positions. */
async function longSteps(url) {
  const browser = await launch();
  const page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
  await page.goto(`${url}#${new URLSearchParams({ prompt: "and ".repeat(600), pos: "509" })}`);
  await ready(page);
  const taken = await steps(page, 166);
  await browser.close();
  return taken;
}

/** The private memory of a browser's renderers, in bytes. */
function privateBytes(browserPid) {
  let bytes = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      if (!command.includes("--type=renderer") || !command.includes(browserPid)) continue;
      const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
      for (const [, kb] of rollup.matchAll(/^Private_\w+: +(\d+) kB/gm)) bytes += Number(kb) * 1024;
    } catch {
      // the process has ended meanwhile
    }
  }
  return bytes;
}

/** The memory of the page's renderer beyond an empty page's, after a story of 256 tokens and some steps. */
async function memory(url) {
  const mark = `--user-agent=study-${process.pid}`; // on the command line of all processes of this browser
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu", mark] });
  const page = await browser.newPage();
  await page.goto(`${url}page.json`);
  const empty = privateBytes(mark);
  await page.goto(`${url}#more=250&temp=1`);
  await ready(page);
  await page.evaluate(`(async () => {
    for (let i = 0; i < 200; i++) document.querySelector("#next").click();
  })()`);
  await page.waitForTimeout(1000);
  const tokens = await page.evaluate(`document.querySelectorAll("#tokens button:not(.more)").length`);
  const used = privateBytes(mark);
  await browser.close();
  return { tokens, bytes: used - empty };
}

const stepSummary = (all) => ({
  stepMs: summary(all.map(({ drawn }) => drawn)),
  stepShownMs: summary(all.map(({ shown }) => shown)),
});

const files = values.model ? [values.model, ...(values.tokenizer ? ["-z", values.tokenizer] : [])] : [];
if (values.picture) {
  const { url, close } = await serve();
  const browser = await launch();
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  await page.goto(`${url}#view=step&pos=8&stop=24&cell=44&theme=light`);
  await ready(page);
  await page.screenshot({ path: values.picture });
  await browser.close();
  close();
} else {
  const bundled = await serve();
  const rounds = [];
  for (let i = 0; i < Number(values.rounds); i++) rounds.push(await timings(bundled.url));
  const long = await longSteps(bundled.url);
  bundled.close();
  const other = await serve(...files);
  const { tokens, bytes } = await memory(other.url);
  other.close();
  const result = {
    date: new Date().toISOString(),
    commit: commit(),
    machine,
    node: process.version,
    command: `node bench/study.mjs${values.model ? " --model stories260K.bin" : ""}`,
    firstStepMs: summary(rounds.map(({ firstStep }) => firstStep)),
    ...stepSummary(rounds.flatMap(({ steps }) => steps)),
    at512Positions: stepSummary(long),
    memory: { model: values.model ? "stories260K" : "stories2M", tokens, privateBytes: bytes },
  };
  const out =
    values.out ?? join(root, "bench", "results", `study-${result.date.slice(0, 19).replaceAll(":", "")}.json`);
  writeFileSync(out, `${JSON.stringify(result, undefined, 2)}\n`);
  console.log(JSON.stringify(result, undefined, 2));
  console.error(relative(process.cwd(), out));
}
