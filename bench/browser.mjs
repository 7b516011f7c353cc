/*
 * browser.mjs --model FILE: the wasm backend in headless Chromium beside wasm in Node, each on one thread.
 *
 * Both load the model once, and then generate the same story in turn: page, Node, page, Node, ... The page is served from
 * here and asks for its next task. bench/README.md has the rules.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createReadStream, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { basename, extname, join, relative } from "node:path";
import { parseArgs } from "node:util";
import { loadModel } from "../dist/node/index.js";
import { root } from "../scripts/fingerprint.mjs";
import { commit, machine } from "./machine.mjs";
import { ratios, summary } from "./samples.mjs";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"];
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };
const PROMPT = "One day";

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    tokenizer: { type: "string" },
    steps: { type: "string", default: "96" },
    rounds: { type: "string", default: "7" },
    out: { type: "string" },
  },
});
if (!values.model || !existsSync(CHROMIUM)) {
  console.error("usage: node bench/browser.mjs --model FILE [--tokenizer FILE] [--steps 96] [--rounds 7] [--out FILE]");
  console.error(`needs Chromium at ${CHROMIUM}; the variable CHROMIUM names another`);
  process.exit(2);
}

/** What both sides run: load the model, and for each task generate a story; returns its tokens and run.c's speed. */
const TELL = `async (model, { prompt, steps }) => {
  const maxTokens = steps - model.encodePrompt(prompt).length + 1;
  const generation = model.generate(prompt, { temperature: 0, seed: 1, maxTokens, eos: false });
  for await (const _ of generation);
  return { value: generation.timings.tokensPerSecond, tokens: generation.tokens };
}`;
const PAGE = `<!doctype html><title>bench</title><script type="module">
  import { loadModel } from "/llama2/index.js";
  const post = (path, body) => fetch(path, { method: "POST", body: JSON.stringify(body) });
  try {
    const model = await loadModel("/model.bin", { tokenizer: "/tokenizer.bin", backend: "wasm", lookahead: "off" });
    const tell = ${TELL};
    for (;;) await post("/done", await tell(model, await (await fetch("/task")).json()));
  } catch (error) {
    await post("/failed", String(error));
  }
</script>`;

/** A browser whose page does one task after the other. */
async function openPage(model, tokenizer) {
  const files = { "/model.bin": model, "/tokenizer.bin": tokenizer };
  let giveTask; // answers the page's request for its next task
  let ready = new Promise((resolve) => {
    giveTask = resolve;
  });
  let done = () => {};
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const path = files[pathname] ?? join(root, "dist", "browser", basename(pathname));
    if (request.method === "POST") {
      const chunks = await request.toArray();
      response.end();
      done({ failed: pathname === "/failed", body: JSON.parse(Buffer.concat(chunks).toString()) });
    } else if (pathname === "/") response.setHeader("Content-Type", TYPES[".html"]).end(PAGE);
    else if (pathname === "/task") giveTask((task) => response.end(JSON.stringify(task)));
    else if (!existsSync(path)) response.writeHead(404).end();
    else {
      const headers = { "Content-Type": TYPES[extname(path)] ?? "application/octet-stream" };
      response.writeHead(200, { ...headers, "Content-Length": statSync(path).size });
      createReadStream(path).pipe(response);
    }
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const profile = mkdtempSync(join(tmpdir(), "llama2-chromium-"));
  const url = `http://127.0.0.1:${server.address().port}/`;
  const browser = spawn(CHROMIUM, [...FLAGS, `--user-data-dir=${profile}`, "--remote-debugging-port=0", url], {
    stdio: "ignore",
  });
  const failed = new Promise((_, reject) => {
    browser.once("exit", (code) => reject(new Error(`chromium ended with ${code}`)));
  });
  return {
    async tell(task) {
      const answer = new Promise((resolve) => {
        done = resolve;
      });
      const send = ready.then((send) => {
        ready = new Promise((resolve) => {
          giveTask = resolve;
        });
        send(task);
        return answer;
      });
      const result = await Promise.race([send, answer, failed]); // a page that cannot load the model asks for no task
      if (result.failed) throw new Error(`the page: ${result.body}`);
      return result.body;
    },
    async close() {
      browser.removeAllListeners("exit");
      browser.kill();
      await once(browser, "exit");
      server.closeAllConnections();
      server.close();
      rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    },
  };
}

const task = { prompt: PROMPT, steps: Number(values.steps) };
const rounds = Number(values.rounds);
const model = await loadModel(values.model, {
  tokenizer: values.tokenizer,
  backend: "wasm",
  threads: 1,
  lookahead: "off",
});
const tokenizer = values.tokenizer ?? join(values.model, "..", "tokenizer.bin");
const page = await openPage(values.model, tokenizer);
const tellHere = new Function(`return ${TELL}`)();
const samples = { browser: [], node: [] };
try {
  for (let round = 0; round <= rounds; round++) {
    const results = { browser: await page.tell(task), node: await tellHere(model, task) };
    if (results.browser.tokens.join() !== results.node.tokens.join())
      throw new Error("the page generates another story than Node");
    if (round === 0) continue; // the first warms up
    for (const side of ["browser", "node"]) samples[side].push(results[side].value);
    process.stderr.write(
      `round ${round} of ${rounds}: ${results.browser.value.toFixed(1)}, ${results.node.value.toFixed(1)}\n`,
    );
  }
} finally {
  await page.close();
  await model.dispose();
}

const date = new Date().toISOString();
const ratio = summary(ratios(samples.browser, samples.node));
const result = {
  date,
  commit: commit(),
  machine,
  node: process.version,
  browser: spawnSync(CHROMIUM, ["--version"], { encoding: "utf8" }).stdout.trim(),
  command: `node bench/browser.mjs --model ${basename(values.model)} --steps ${task.steps} --rounds ${rounds}`,
  unit: "tok/s",
  browserTokS: { ...summary(samples.browser), values: samples.browser },
  nodeTokS: { ...summary(samples.node), values: samples.node },
  ratio: { ...ratio, target: 0.85 },
};
const out = values.out ?? join(root, "bench", "results", `browser-${date.slice(0, 19).replaceAll(":", "")}.json`);
writeFileSync(out, `${JSON.stringify(result, null, 2)}\n`);
console.log(
  `wasm, one thread: ${result.browserTokS.median.toFixed(1)} tok/s in Chromium, ${result.nodeTokS.median.toFixed(1)} in Node: ${ratio.median.toFixed(2)} x (${ratio.min.toFixed(2)} to ${ratio.max.toFixed(2)})`,
);
console.log(relative(process.cwd(), out));
