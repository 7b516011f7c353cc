/*
 * load.mjs [--seconds 60] [--streams 64]: llama2 serve under load. So many clients stream stories of the bundled model,
 * and half of them leave at random. Prints what became of them, and writes bench/results/load-DATE.json.
 *
 * Speed is tokens by the server's own CPU time, beside that of `llama2 -N`, since the clients share its cores.
 */
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { loadModel } from "../dist/node/index.js";
import { root } from "../scripts/fingerprint.mjs";
import { commit, machine } from "./machine.mjs";

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "60" }, streams: { type: "string", default: "64" } },
});
const [seconds, streams] = [Number(values.seconds), Number(values.streams)];
const MAIN = join(root, "dist", "node", "main.js");
const TICKS = 100; // of the kernel's clock a second
const LOST_AFTER = 20_000;
const SEEDS = 256; // which come again and again, so that there are not too many texts to compare with
const agent = new Agent({ keepAlive: true, maxSockets: streams });

/** A generator of numbers in [0, 1): the same clients leave at the same moments in every run. */
function seeded(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** CPU seconds and bytes of memory of a process, on Linux. */
function usageOf(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  const [, kibibytes] = readFileSync(`/proc/${pid}/status`, "utf8").match(/VmRSS:\s+(\d+)/);
  return { cpu: (Number(fields[11]) + Number(fields[12])) / TICKS, bytes: Number(kibibytes) * 1024 };
}

/** Tokens by CPU second of `llama2 -N`, without what starting takes. */
async function alone(count) {
  const told = [];
  for (const stories of [1, count]) {
    const counting = join(root, "bench", "cpu.mjs");
    const args = ["--import", counting, MAIN, "-N", `${Math.max(2, stories)}`, "-s", "1", "--json", "--quiet"];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    const chunks = [[], []];
    child.stdout.on("data", (chunk) => chunks[0].push(chunk));
    child.stderr.on("data", (chunk) => chunks[1].push(chunk));
    await new Promise((resolve) => child.on("close", resolve));
    const [stdout, stderr] = chunks.map((all) => Buffer.concat(all).toString());
    const tokens = stdout
      .trimEnd()
      .split("\n")
      .reduce((sum, line) => sum + JSON.parse(line).tokens.length - 1, 0);
    told.push({ tokens, cpu: Number(stderr) });
  }
  return (told[1].tokens - told[0].tokens) / (told[1].cpu - told[0].cpu);
}

async function startServer() {
  const server = spawn(process.execPath, [MAIN, "serve", "--port", "0", "--slots", `${streams}`], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const url = await new Promise((resolve) => {
    server.stderr.on("data", (chunk) => {
      const [found] = /http:\S+/.exec(`${chunk}`) ?? [];
      if (found) resolve(found);
    });
  });
  return { server, url };
}

/**
 * One stream: its text, whether it was told to its end, whether its client left, and the milliseconds between its
 * chunks. Plain http, since the clients share the server's cores: fetch takes several times as much of them.
 */
function stream(url, seed, random) {
  const leavesAfter = random() < 0.5 ? Math.floor(random() * 30) : Infinity; // chunks
  const body = JSON.stringify({ prompt: "", seed, top_p: 0.9, stream: true });
  const headers = { "Content-Type": "application/json", "Content-Length": body.length };
  const told = { seed, text: "", stayed: false, left: false, gaps: [] };
  return new Promise((resolve, reject) => {
    const asked = request(`${url}/v1/completions`, { method: "POST", headers, agent }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`the server answers ${response.statusCode}`));
      let [rest, last] = ["", 0];
      response.setEncoding("utf8").on("data", (piece) => {
        const now = performance.now();
        if (last > 0) told.gaps.push(now - last);
        last = now;
        const events = (rest + piece).split("\n\n");
        rest = events.pop();
        for (const event of events) {
          if (event === "data: [DONE]") told.stayed = true;
          else told.text += JSON.parse(event.slice(6)).choices[0].text;
        }
        if (told.gaps.length < leavesAfter) return;
        told.left = true;
        asked.destroy();
      });
      response.on("close", () => resolve(told)).on("error", () => {});
    });
    asked.on("error", (error) => (told.left ? resolve(told) : reject(error)));
    asked.setTimeout(LOST_AFTER, () => asked.destroy(new Error(`a stream said nothing for ${LOST_AFTER} ms`)));
    asked.end(body);
  });
}

const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];

const before = await alone(2 * streams);
const { server, url } = await startServer();
const random = seeded(1);
const streamed = [];
let begun = 0;
const start = performance.now();
const end = start + 1000 * seconds;
const first = usageOf(server.pid);
const bytes = []; // at each sixth of the time
const sampling = setInterval(() => bytes.push(usageOf(server.pid).bytes), (1000 * seconds) / 6);
const client = async () => {
  while (performance.now() < end) streamed.push(await stream(url, 1 + (begun++ % SEEDS), random));
};
await Promise.all(Array.from({ length: streams }, client));
const wall = (performance.now() - start) / 1000;
const last = usageOf(server.pid);
clearInterval(sampling);
const { running, waiting } = await (await fetch(`${url}/health`)).json();
server.kill("SIGTERM");
const code = await new Promise((resolve) => server.on("close", resolve));
const after = await alone(2 * streams);

// what each story is by itself, and how many of its tokens a client that left has seen
const model = await loadModel();
const prompts = Array.from({ length: SEEDS }, () => "");
let tokens = 0;
let wrong = 0;
for await (const { index, text, generation } of model.generateAll(prompts, { seed: 1 })) {
  for (const seen of streamed.filter(({ seed }) => seed === index + 1)) {
    const decoder = model.tokenizer.decoder();
    let [said, count] = ["", 0];
    for (const token of generation.tokens) {
      if (!seen.stayed && said.length >= seen.text.length) break;
      said += decoder.push(token);
      count++;
    }
    tokens += Math.max(0, count - 1); // BOS is no new token
    if (seen.stayed ? text !== seen.text : !text.startsWith(seen.text)) wrong++;
  }
}
await model.dispose();

const gaps = streamed.flatMap((one) => one.gaps).sort((a, b) => a - b);
const cpu = last.cpu - first.cpu;
const baseline = (before + after) / 2;
const result = {
  load: 1,
  date: new Date().toISOString(),
  commit: commit(),
  machine,
  command: `node bench/load.mjs --seconds ${seconds} --streams ${streams}`,
  seconds: wall,
  streams,
  stories: streamed.length,
  left: streamed.filter(({ left }) => left).length,
  lost: streamed.filter(({ left, stayed }) => !left && !stayed).length,
  wrong,
  tokens,
  tokensPerSecond: tokens / wall,
  tokensPerCpuSecond: tokens / cpu,
  baselinePerCpuSecond: { before, after },
  ratio: tokens / cpu / baseline,
  gapMs: { median: quantile(gaps, 0.5), p99: quantile(gaps, 0.99), max: gaps.at(-1) },
  gapRatio: quantile(gaps, 0.99) / quantile(gaps, 0.5),
  bytes: [...bytes, last.bytes],
  leftOver: { running, waiting },
  exitCode: code,
};
const path = join(root, "bench", "results", `load-${result.date.slice(0, 19).replaceAll(":", "")}.json`);
writeFileSync(path, `${JSON.stringify(result, null, 2)}\n`);
console.log(JSON.stringify(result, null, 2));
