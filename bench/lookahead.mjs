/*
 * lookahead.mjs: measures guessing ahead against our own plain decoding, in one interleaved run.
 *
 *     node bench/lookahead.mjs [--model NAME=FILE ...] [--backend cpu,wasm] [--threads 1,2] [--rounds 5]
 *     node bench/lookahead.mjs --compare 10000000 --model 260K=FILE
 *
 * The bundled model uses its own table, and each story has a seed of its own, so that no text occurs twice. For models with
 * random weights a table would be useless: there the right next token is guessed as often as was measured on real text
 * (0.43 at temperature 1, 0.575 greedy), and a wrong one otherwise. Either way the scheduler, the costs that it measures
 * and the number of guesses that it chooses are those of `--lookahead auto`.
 *
 * --compare generates random mixes of stories with and without guessing ahead, until this many tokens have been compared:
 * the tokens and the generators' states must be the same.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { load } from "../dist/backend/load.js";
import { spreadOf } from "../dist/bench/result.js";
import { asInt8 } from "../dist/checkpoint/int8.js";
import { open } from "../dist/checkpoint/open.js";
import { filesAt } from "../dist/files/disk.js";
import { TableGuesser } from "../dist/run/guess.js";
import { parseGuesses } from "../dist/run/guessFile.js";
import { GuessTable } from "../dist/run/guessTable.js";
import { Scheduler } from "../dist/run/scheduler.js";
import { root } from "../scripts/fingerprint.mjs";
import { commit, machine } from "./machine.mjs";

const { values } = parseArgs({
  options: {
    model: { type: "string", multiple: true, default: [] },
    backend: { type: "string", default: "cpu,wasm" },
    threads: { type: "string", default: "1,2" },
    rounds: { type: "string", default: "5" },
    compare: { type: "string" },
    out: { type: "string" },
  },
});
const BUNDLED = join(root, "models", "stories2M.bin");
const GUESSES = join(root, "models", "stories2M.guesses");
/**
 * How often guesses are right on real text, as measured: with a vocabulary of 32,000 at temperature 1; greedy, with
 * repetitions, 0.63 of them, but unevenly, so that they gain as much as 0.575 would.
 */
const HITS = { 0: 0.575, 1: 0.43 };

/** Guesses a known text, and is right with a given probability. How many guesses are used is decided as usual. */
class Replaying extends TableGuesser {
  constructor(hits) {
    super(new GuessTable(), "auto");
    this.hits = hits;
    this.text = [];
  }
  propose({ tokens, guesses }, most) {
    for (let at = tokens.length; guesses.count < most && at < this.text.length; at++) {
      const isRight = (Math.imul(at + 1, 2654435761) ^ Math.imul(this.text[at], 40503)) >>> 0 < 2 ** 32 * this.hits;
      guesses.tokens[guesses.count] = isRight ? this.text[at] : (this.text[at] + 1) % 32000;
      guesses.chances[guesses.count] = this.chanceOf(0) * (guesses.chances[guesses.count - 1] ?? 1);
      guesses.kinds[guesses.count++] = 0;
    }
  }
  learn() {}
}

function bundledTable() {
  const table = new GuessTable();
  table.add(parseGuesses(readFileSync(GUESSES), "stories2M.guesses", { vocabSize: 2048 }));
  return table;
}

/** Generate these stories, all at once or as many as there are slots. */
function tell(scheduler, requests) {
  const results = requests.map(() => ({ tokens: [], state: 0n, ahead: { passes: 0, guessed: 0, accepted: 0 } }));
  const start = performance.now();
  scheduler.add(1, requests);
  while (scheduler.busy) {
    scheduler.step();
    for (const { slices } of scheduler.take()) {
      for (const { sequence, tokens, state, ahead, error } of slices) {
        if (error) throw new Error(error.message);
        results[sequence].tokens.push(...tokens);
        if (state !== undefined) results[sequence].state = state;
        if (ahead) results[sequence].ahead = ahead;
      }
    }
  }
  return { results, ms: performance.now() - start };
}

const request = (seed, temperature, maxTokens, tokens = [1], stops = [1, 2]) => ({
  tokens,
  maxTokens,
  stops,
  sampling: { temperature, topP: 0.9, state: BigInt(seed) },
  want: "tokens",
});

/** The beginning of a story, so that greedy stories differ. */
const beginning = (scheduler, seed) => [1, ...tell(scheduler, [request(seed, 1, 12)]).results[0].tokens];

const say = (results) => results.map(({ tokens, state }) => `${state}: ${tokens.join(" ")}`).join("\n");

async function loaded(path, backend, threads, int8) {
  const source = await open(filesAt(path));
  const { model, config } = await load(int8 ? asInt8(source) : source, backend, 0, threads, {});
  source.close();
  return { model, config };
}

/** Measure plain decoding and guessing ahead in turn, on one model that is loaded once. */
async function measure({ name, path, int8 }, backend, threads, temperature, rounds) {
  const { model, config } = await loaded(path, backend, threads, int8);
  const isBundled = path === BUNDLED;
  const guesser = isBundled ? new TableGuesser(bundledTable(), "auto") : new Replaying(HITS[temperature]);
  const schedulers = {
    plain: new Scheduler(model, config.vocabSize, 1),
    ahead: new Scheduler(model, config.vocabSize, 1, guesser),
  };
  const length = Math.min(256, config.seqLen);
  const perRound = isBundled ? 12 : 1;
  const speeds = { plain: [], ahead: [] };
  const counts = { passes: 0, guessed: 0, accepted: 0 };
  for (let round = 0; round <= rounds; round++) {
    const texts = { plain: "", ahead: "" };
    const spent = { plain: 0, ahead: 0 };
    let tokens = 0;
    for (let k = 0; k < perRound; k++) {
      const seed = 1 + round * perRound + k;
      const prompt = isBundled && temperature === 0 ? beginning(schedulers.plain, seed) : [1];
      const asked = [request(seed, temperature, length - prompt.length, prompt, isBundled ? [1, 2] : [])];
      if (!isBundled) guesser.text = [1, ...tell(schedulers.plain, asked).results[0].tokens];
      const order = (round + k) % 2 === 0 ? ["plain", "ahead"] : ["ahead", "plain"];
      for (const which of order) {
        const { results, ms } = tell(schedulers[which], asked);
        spent[which] += ms;
        texts[which] += say(results);
        if (which === "plain") tokens += results[0].tokens.length;
        else if (round > 0) for (const key of Object.keys(counts)) counts[key] += results[0].ahead[key];
      }
    }
    if (texts.plain !== texts.ahead) throw new Error(`${name} on ${backend}: guessing changed the output`);
    if (round > 0) for (const which of ["plain", "ahead"]) speeds[which].push((1000 * tokens) / spent[which]);
  }
  for (const scheduler of Object.values(schedulers)) scheduler.dispose();
  model.dispose();
  return {
    model: name,
    precision: int8 ? "int8" : "fp32",
    backend,
    threads,
    temperature,
    guesses: isBundled ? "models/stories2M.guesses" : `replayed, ${HITS[temperature]} of them right`,
    tokensPerPass: (counts.passes + counts.accepted) / counts.passes,
    hitRate: counts.guessed === 0 ? 0 : counts.accepted / counts.guessed,
    plain: spreadOf(speeds.plain),
    ahead: spreadOf(speeds.ahead),
    ratio: spreadOf(speeds.ahead.map((speed, round) => speed / speeds.plain[round])),
  };
}

/** Compare random mixes with and without guessing ahead. Returns how many tokens were compared. */
async function compare({ path, int8 }, backend, threads, tokens) {
  const { model, config } = await loaded(path, backend, threads, int8);
  const random = seeded(1);
  const guesser = new TableGuesser(new GuessTable(), 7);
  let [compared, ahead, mixes] = [0, 0, 0];
  while (compared < tokens) {
    const slots = 1 + random(32);
    const asked = Array.from({ length: 1 + random(64) }, () => {
      const temperature = [0, 0.5, 1, 1, 1, 1.5][random(6)];
      const prompt = [1, ...Array.from({ length: random(6) }, () => 3 + random(config.vocabSize - 3))];
      return request(1 + random(2 ** 31), temperature, 1 + random(Math.min(256, config.seqLen - 8)), prompt);
    });
    const [plain, guessed] = [undefined, guesser].map((guesser) => {
      const scheduler = new Scheduler(model, config.vocabSize, slots, guesser);
      const { results } = tell(scheduler, asked);
      scheduler.dispose();
      return results;
    });
    if (say(plain) !== say(guessed)) throw new Error(`mix ${mixes} on ${backend}: guessing changed the output`);
    for (const [k, { tokens }] of plain.entries()) {
      compared += tokens.length;
      ahead += guessed[k].ahead.accepted;
    }
    mixes++;
  }
  model.dispose();
  return { backend, threads, mixes, tokens: compared, guessedRight: ahead, different: 0 };
}

/** 0 to below - 1. */
function seeded(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const named = values.model.map((text) => {
  const [name, path] = text.split("=");
  return { name, path: path.replace(/:int8$/, ""), int8: path.endsWith(":int8") };
});
const models = existsSync(GUESSES) ? [{ name: "stories2M", path: BUNDLED, int8: false }, ...named] : named;
const backends = values.backend.split(",");
const threadCounts = values.threads.split(",").map(Number);
const rows = [];
for (const model of values.compare ? named : models) {
  for (const backend of backends) {
    for (const threads of threadCounts) {
      if (values.compare) {
        const each = Number(values.compare) / (named.length * backends.length * threadCounts.length);
        rows.push({ model: model.name, ...(await compare(model, backend, threads, each)) });
      } else {
        for (const temperature of [1, 0])
          rows.push(await measure(model, backend, threads, temperature, Number(values.rounds)));
      }
      console.log(
        rows
          .slice(values.compare ? -1 : -2)
          .map(lineOf)
          .join("\n"),
      );
    }
  }
}

function lineOf(row) {
  if (values.compare)
    return `${row.model} ${row.backend} ${row.threads}: ${row.tokens} tokens the same, ${row.mixes} mixes`;
  const { model, precision, backend, threads, temperature, plain, ahead, ratio, tokensPerPass } = row;
  const what = `${model} ${precision} ${backend} ${threads} threads, temperature ${temperature}`;
  const range = `${ratio.min.toFixed(2)} to ${ratio.max.toFixed(2)}`;
  return `${what}: ${plain.median.toFixed(0)} -> ${ahead.median.toFixed(0)} tok/s, ${ratio.median.toFixed(2)} x (${range}), ${tokensPerPass.toFixed(2)} tokens a pass`;
}

const date = new Date().toISOString().slice(0, 19).replaceAll(":", "");
const kind = values.compare ? "lookahead-compare" : "lookahead";
const out = values.out ?? join(root, "bench", "results", `${kind}-${date}.json`);
const command = process.argv
  .slice(2)
  .join(" ")
  .replace(/=\S*\//g, "="); // without the folders of this machine
writeFileSync(out, `${JSON.stringify({ commit: commit(), machine, node: process.version, command, rows }, null, 1)}\n`);
