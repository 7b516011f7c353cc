/*
 * load.mjs [--seconds 60] [--streams 64]: llama2 serve under load. The clients stream stories of the bundled model, and half
 * of them leave at random. Prints the outcome, and writes bench/results/load-DATE.json.
 *
 * Speed is tokens per second of the server's CPU time, compared with `llama2 -N`, since the clients share its cores.
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
const TICKS = 100; // clock ticks of the kernel per second
const LOST_AFTER = 20_000;
const SEEDS = 256; // reused again and again, so that there are not too many texts to compare with
const agent = new Agent({ keepAlive: true, maxSockets: streams });

/** A random number generator, [0, 1): the same clients leave at the same moments in every run. */
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

/** Tokens per CPU second of `llama2 -N`, without its start. */
async function alone(count) {
  const runs = [];
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
    runs.push({ tokens, cpu: Number(stderr) });
  }
  return (runs[1].tokens - runs[0].tokens) / (runs[1].cpu - runs[0].cpu);
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
 * One stream: its text, whether it was complete, whether its client left, and the milliseconds between its chunks. It
 * uses plain http, since the clients share the server's cores: fetch takes several times the CPU time.
 */
function stream(url, seed, random) {
  const leavesAfter = random() < 0.5 ? Math.floor(random() * 30) : Infinity; // chunks
  const body = JSON.stringify({ prompt: "", seed, top_p: 0.9, stream: true });
  const headers = { "Content-Type": "application/json", "Content-Length": body.length };
  const outcome = { seed, text: "", stayed: false, left: false, gaps: [] };
  return new Promise((resolve, reject) => {
    const asked = request(`${url}/v1/completions`, { method: "POST", headers, agent }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`the server answers ${response.statusCode}`));
      let [rest, last] = ["", 0];
      response.setEncoding("utf8").on("data", (piece) => {
        const now = performance.now();
        if (last > 0) outcome.gaps.push(now - last);
        last = now;
        const events = (rest + piece).split("\n\n");
        rest = events.pop();
        for (const event of events) {
          if (event === "data: [DONE]") outcome.stayed = true;
          else outcome.text += JSON.parse(event.slice(6)).choices[0].text;
        }
        if (outcome.gaps.length < leavesAfter) return;
        outcome.left = true;
        asked.destroy();
      });
      response.on("close", () => resolve(outcome)).on("error", () => {});
    });
    asked.on("error", (error) => (outcome.left ? resolve(outcome) : reject(error)));
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

// the text of each seed alone, and how many of its tokens a client that left has seen
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
    tokens += Math.max(0, count - 1); // BOS is not a new token
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
