/*
 * The study page in headless Chromium: what a visitor does; every number is the run's.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { explain } from "../../src/trace/explain.ts";
import { lensAt, residualsOf } from "../../src/trace/lens.ts";
import { openTrace } from "../../src/trace/open.ts";
import { hasChromium, needsChromium } from "../helpers/chromium.ts";
import { type GenerateCase, golden, hasShared, needsShared, ROOT, sha256, sharedFile } from "../helpers/golden.ts";
import { axe, hash, openStudy, type Page, type Study, settled, text, until } from "../helpers/studyPage.ts";

const PROMPT = "Once upon a time, there was a little";
const model = await openTrace();

/** The story that the page tells at first, as Node tells it. */
function story(prompt: string, { temperature = 0.8, topP = 0.9, seed = 42n, more = 24 } = {}) {
  const run = model.run(prompt);
  model.continue(run, model.sampler({ temperature, topP, seed }), run.tokens.length + more);
  return run;
}

const tokens = async (page: Page) => (await page.locator("#tokens button:not(.more)").allTextContents()).length;

/** Click a cell of the figure by keys: the figure has focus, and arrows move. */
async function chooseCell(page: Page, cell: number): Promise<void> {
  await page.locator("#figure").focus();
  await page.locator("#figure").press("ArrowRight");
  for (let i = 0; i < cell; i++) await page.locator("#figure").press("ArrowRight");
}

describe.skipIf(!hasChromium)(`the study page${needsChromium}`, () => {
  let study: Study;
  beforeAll(async () => {
    study = await openStudy();
  }, 300_000);
  afterAll(() => study?.close());

  it("reads a typed prompt, and tells Node's story", async () => {
    const page = await study.open();
    await page.locator("#prompt").fill("One day, Tom saw");
    await page.locator("#prompt").press("Enter");
    const expected = story("One day, Tom saw").tokens;
    await until(page, `document.querySelectorAll("#tokens button:not(.more)").length === ${expected.length}`);
    await settled(page);
    const titles = await page.evaluate<string[]>(
      `[...document.querySelectorAll("#tokens button:not(.more)")].map((b) => b.title)`,
    );
    expect(titles.map((title) => Number(/token (\d+)/.exec(title)?.[1]))).toEqual(expected);
    await page.close();
  });

  it("steps forwards and backwards, over layers and tokens, and highlights the line that ran", async () => {
    const page = await study.open(`prompt=${encodeURIComponent(PROMPT)}&pos=3&stop=0`);
    const line = async () => (await text(page, "#code .lit code")).trim();
    expect(await line()).toBe("copyRow(x, w.tokenEmbeddingTable, token);");
    await page.locator("#next").click();
    expect(await line()).toBe("rmsnorm(s.xb, x, w.rmsAttWeight[l], p.normEps);");
    await page.keyboard.press("}");
    await page.keyboard.press("n");
    expect(await line()).toBe("matmul(s.q, s.xb, w.wq[l]);");
    expect((await hash(page)).get("stop")).toBe("18");
    await page.keyboard.press("b");
    await page.keyboard.press("{");
    await page.keyboard.press("b");
    expect((await hash(page)).get("stop")).toBe("0");
    await page.keyboard.press("b");
    expect([(await hash(page)).get("pos"), (await hash(page)).get("stop")]).toEqual(["2", "82"]);
    await page.keyboard.press("]");
    expect((await hash(page)).get("pos")).toBe("3");
    await page.close();
  });

  it("shows how a number was computed: Node's terms, whose sum is the value to the last bit", async () => {
    const page = await study.open(`prompt=${encodeURIComponent(PROMPT)}&pos=5&stop=18`);
    await chooseCell(page, 3);
    const run = model.run(PROMPT);
    const made = explain(run, { id: "q", layer: 1, pos: 5, tensor: "q", index: 3 });
    expect(await text(page, "#formula")).toBe(made.formula);
    const verdict = (await text(page, "#verdict")).replace("−", "-");
    expect(Math.fround(Number(/give (\S+),/.exec(verdict)?.[1]))).toBe(made.value);
    expect(verdict).toContain("192 float32 terms give");
    expect(verdict).toContain("to the last bit what the run stored");
    await page.close();
  });

  it("every kind of stop explains its numbers to the last bit", async () => {
    const page = await study.open(`prompt=${encodeURIComponent(PROMPT)}&pos=4&stop=0&cell=1`);
    const kinds = [];
    for (const stop of [0, ...Array.from({ length: 16 }, (_, i) => 33 + i), 81, 82]) {
      await page.evaluate(
        `location.hash = location.hash.replace(/stop=\\d+/, "stop=${stop}").replace(/&cell=\\d+/, "") + "&cell=1"`,
      );
      await until(page, `document.querySelector("#where").textContent.includes("stop ${stop + 1} of")`);
      kinds.push(await text(page, "#verdict"));
    }
    expect(kinds.filter((verdict) => !verdict.includes("to the last bit what the run stored"))).toEqual([]);
    expect(kinds.length).toBe(19);
    await page.close();
  });

  it("counts the bytes of the KV cache, and shows the model's prediction after each residual", async () => {
    const page = await study.open(`prompt=${encodeURIComponent(PROMPT)}&pos=5&stop=4`);
    const { nLayers, nKvHeads, nHeads, dim, seqLen, vocabSize } = model.config;
    const row = 2 * nLayers * (dim / nHeads) * nKvHeads * 4;
    const bytes = (count: number) => count.toLocaleString("en-US");
    expect(await text(page, "#bytes")).toBe(`${bytes(6 * row)} of ${bytes(seqLen * row)} bytes`);
    const run = model.run(PROMPT);
    const ranked = (logits: Float32Array) =>
      Array.from({ length: vocabSize }, (_, token) => token).sort((a, b) => logits[b] - logits[a] || a - b);
    const [final] = ranked(run.values(5, { id: "logits", layer: -1 }));
    const expected = residualsOf(nLayers).map((place) => {
      const order = ranked(lensAt(run, 5, place));
      return [model.piece(order[0]).trim(), `${order.indexOf(final) + 1}`];
    });
    await page.keyboard.press("["); // what was prepared for this position is what is shown
    await page.keyboard.press("]");
    const rows = await page.evaluate<string[][]>(
      `[...document.querySelectorAll("#lens tbody tr")].map(({ cells }) => [cells[1].firstChild.textContent, cells[3].textContent])`,
    );
    expect(rows).toEqual(expected);
    await page.close();
  });

  it("says why, term by term down to a weight and a token", async () => {
    const page = await study.open(`prompt=${encodeURIComponent(PROMPT)}&pos=5&stop=82&cell=100`);
    await page.locator("#terms button[aria-label]").first().click();
    expect(await text(page, "#name")).toBe("final norm");
    expect(await page.locator("#trail li").count()).toBe(2);
    await page.locator("#whyAll").click();
    expect(await text(page, "#name")).toBe("embedding");
    const origin = /number (\d+) of the row of token (\d+), .* at position (\d+)/.exec(await text(page, "#origin"));
    expect(model.run(PROMPT).tokens[Number(origin?.[3])]).toBe(Number(origin?.[2]));
    expect(await text(page, "#formula")).toBe(
      `x[${origin?.[1]}] = tokenEmbeddingTable[${origin?.[2]}][${origin?.[1]}]`,
    );
    await page.locator("#trail button").first().click(); // and back
    expect(await text(page, "#name")).not.toBe("embedding");
    await page.close();
  });

  it("chooses another token when the temperature is moved; the sliders start at the run's settings", async () => {
    const run = story(PROMPT);
    const pos = run.tokens.findIndex((token, i) => i >= 10 && token !== greedyAfter(run.tokens.slice(0, i)));
    const page = await study.open(`prompt=${encodeURIComponent(PROMPT)}&view=sampler&pos=${pos - 1}`);
    expect(await text(page, "#chosen")).toContain("It is what the story has.");
    const chosen = () => text(page, "#chosen b");
    expect((await chosen()).trim()).toBe(model.piece(run.tokens[pos]).trim());
    await page.evaluate(
      `{ const slider = document.querySelector("#tempRange"); slider.value = "0"; slider.dispatchEvent(new Event("input")); }`,
    );
    expect((await chosen()).trim()).toBe(model.piece(greedyAfter(run.tokens.slice(0, pos))).trim());
    await page.close();
  });

  const greedyAfter = (before: number[]) => {
    const run = model.run(before);
    return model.next(run, model.sampler());
  };

  it("changes the text when a head is switched off; the first difference is named", async () => {
    const page = await study.open(`prompt=${encodeURIComponent(PROMPT)}&view=compare&pos=9`);
    expect(await page.locator("#texts").isVisible()).toBe(false);
    await page.locator('[aria-label="Switch off head 0 of layer 0"]').click();
    await page.locator('[aria-label="Switch off feed-forward of layer 1"]').click();
    await until(page, `!document.querySelector("#texts").hidden && document.querySelector("#textOther .first")`);
    const [mine, other] = [await text(page, "#textStory"), await text(page, "#textOther")];
    expect(other).not.toBe(mine);
    expect(await text(page, "#verdictOther")).toMatch(
      /First different token: position \d+, .* first stop that differs is L0\.mix/,
    );
    expect((await hash(page)).get("off")).toBe("L0.H0,L1.ffn");
    await page.close();
  });

  it("forks the story at a token, and both continue with the same coins", async () => {
    const page = await study.open(`prompt=${encodeURIComponent(PROMPT)}&view=compare&pos=12`);
    await page.locator("#forks button").first().click();
    await until(page, `document.querySelector("#textOther .first")`);
    expect(await text(page, "#verdictOther")).toMatch(/^First different token: position 13, /);
    const [pos, token] = ((await hash(page)).get("fork") ?? "").split(":").map(Number);
    const before = await page.evaluate<string>(
      `[...document.querySelectorAll("#textOther span")].slice(0, 13).map((s) => s.textContent).join("")`,
    );
    expect(pos).toBe(13);
    expect(before.endsWith(model.piece(token))).toBe(true);
    await page.close();
  });

  it("the address restores the place, and names the model by its hash", async () => {
    const place = "view=attention&prompt=Lily+and+Tom&seed=7&temp=0.5&more=8&pos=2&stop=40&head=3&theme=dark";
    const page = await study.open(place);
    await hash(page); // it is written
    const address = page.url();
    for (const [name, value] of new URLSearchParams(place))
      expect({ name, value: (await hash(page)).get(name) }).toEqual({ name, value });
    expect((await hash(page)).get("model")).toBe(sha256(readFileSync(`${ROOT}/models/stories2M.bin`)).slice(0, 16));
    const shown = async (each: Page) => [
      await text(each, "#attWhere"),
      await text(each, "#sentence"),
      await tokens(each),
    ];
    const again = await study.open(new URL(address).hash.slice(1));
    expect(await shown(again)).toEqual(await shown(page));
    const other = await study.open(place.replace("view", "model=0123456789abcdef&view"));
    expect(await text(other, "#message")).toContain("made with another model");
    for (const each of [page, again, other]) await each.close();
  });

  it("exports a PNG, JSON and .npz", async () => {
    const page = await study.open(`prompt=${encodeURIComponent(PROMPT)}&pos=3&stop=7`);
    await page.locator("#share").click();
    for (const [kind, start] of [
      ["png", "\x89PNG"],
      ["json", '{"model":"stories2M"'],
      ["npz", "PK"],
    ]) {
      const [download] = await Promise.all([
        page.waitForEvent("download"),
        page.locator(`[data-export=${kind}]`).click(),
      ]);
      expect(download.suggestedFilename()).toMatch(new RegExp(`^stories2M-3.*\\.${kind}$`));
      expect(readFileSync(await download.path()).toString("latin1")).toMatch(new RegExp(`^${start}`));
    }
    await page.close();
  });

  it("the hash of the logits is run.c's for a pinned run, and WebAssembly computes the same bits", async () => {
    const { cases } = golden<{ cases: GenerateCase[] }>("bundled-model.json");
    const { prompt, seed, temperature, topp, tokens, logits_sha256, prompt_tokens } = cases[1];
    const more = tokens.length - prompt_tokens.length + 1;
    const place = new URLSearchParams({
      view: "compare",
      prompt,
      seed,
      temp: `${temperature}`,
      topp: `${topp}`,
      more: `${more}`,
    });
    const page = await study.open(`${place}`);
    await page.locator("#checkHash").click();
    await until(page, `document.querySelector("#hash").textContent.length === 64`);
    expect(await text(page, "#hash")).toBe(logits_sha256);
    expect(await page.locator("#hashBadge").isVisible()).toBe(true);
    await page.locator("#checkWasm").click();
    await until(page, `!document.querySelector("#wasmWords").textContent.startsWith("reading")`);
    expect(await text(page, "#wasmWords")).toMatch(/^The same, bit for bit, at all 11 stops/);
    await page.close();
  });

  it.skipIf(!hasShared)(`accepts another model and its tokenizer by drag and drop${needsShared}`, async () => {
    const page = await study.open(`prompt=${encodeURIComponent(PROMPT)}`);
    const files = ["models/stories260K.bin", "models/tok512.bin"].map(sharedFile);
    await page.locator("#file").setInputFiles([files[0]]);
    await until(page, `document.querySelector("#message").textContent.includes("vocabulary of 512")`);
    await page.locator("#file").setInputFiles(files);
    await until(page, `document.querySelector("#model").textContent === "stories260K"`);
    await settled(page);
    expect(await text(page, "#say")).toContain("tokenEmbeddingTable (512 × 64)");
    await page.close();
  });

  it("says what is wrong with a file, and continues", async () => {
    const page = await study.open();
    await page.locator("#file").setInputFiles([`${ROOT}/README.md`]);
    await until(page, `/README.md/.test(document.querySelector("#message").textContent)`);
    await page.locator("#next").click();
    expect((await hash(page)).get("stop")).toBe("1");
    await page.close();
  });

  it("the tour asks first and answers with live values; missed questions come back", async () => {
    const page = await study.open(`prompt=${encodeURIComponent(PROMPT)}&pos=5`);
    await page.locator("#startTour").click();
    const titles = new Set<string>();
    for (let i = 0; i < 15; i++) {
      titles.add(await text(page, "#tourTitle"));
      const veil = () => page.evaluate(`getComputedStyle(document.querySelector("#figure")).objectFit`);
      expect(await veil()).toBe("none"); // the answer is not to be read off
      if ((await page.locator("#tourAsk input").count()) > 0) {
        await page.locator("#tourAsk input").fill("-7");
        await page.locator("#tourAsk form button").click();
      } else await page.locator("#tourAsk button").first().click();
      await page.locator("#tourAsk .answer").waitFor();
      expect(await veil()).toBe("fill");
      if (i < 14) await page.locator("#tourNext").click();
    }
    expect(titles.size).toBe(15);
    expect(await text(page, "#tourNext")).toMatch(/^Again: \d+ missed$/);
    await page.locator("#tourNext").click();
    expect(await page.locator("#tourAsk .answer").count()).toBe(0);
    await page.locator("#tourLeave").click();
    expect(await page.locator("#tour").isVisible()).toBe(false);
    await page.close();
  });

  const serious = async (page: Page) => {
    await page.evaluate(`${axe()}; undefined`);
    const violations = await page.evaluate<{ id: string; impact: string; nodes: string[] }[]>(
      `axe.run().then(({ violations }) => violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: nodes.map((n) => n.html.slice(0, 120)) })))`,
    );
    return violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  };

  it("axe finds nothing serious with a question, embedded in another page, with more contrast, or with an open box", async () => {
    for (const place of ["ask=1&stop=7", "embed=1&stop=18&cell=3", "contrast=more&theme=dark&stop=24"]) {
      const page = await study.open(place);
      expect({ place, found: await serious(page) }).toEqual({ place, found: [] });
      await page.close();
    }
    const page = await study.open("stop=18");
    await page.setViewportSize({ width: 390, height: 844 });
    for (const opener of ["#share", "#why .term"]) {
      await page.locator(opener).first().click();
      expect({ opener, found: await serious(page) }).toEqual({ opener, found: [] });
      await page.keyboard.press("Escape");
    }
    await page.close();
  });

  it.each(["step", "attention", "rope", "sampler", "compare"])(
    "axe finds nothing serious on the screen %s, light and dark",
    async (view) => {
      for (const theme of ["light", "dark"]) {
        const page = await study.open(`view=${view}&theme=${theme}&stop=7&cell=1&tour=${view === "step" ? 3 : 0}`);
        expect(await serious(page)).toEqual([]);
        await page.close();
      }
    },
  );

  it("on a phone nothing is wider than the screen, and Next is within reach", async () => {
    const page = await study.open("stop=7");
    await page.setViewportSize({ width: 390, height: 844 });
    for (const view of ["step", "attention", "rope", "sampler", "compare"]) {
      await page.locator(`[data-view=${view}]`).click();
      expect({ view, wide: await page.evaluate<number>("document.documentElement.scrollWidth") }).toEqual({
        view,
        wide: 390,
      });
      expect(await page.locator("#next").isVisible()).toBe(true);
    }
    await page.close();
  });

  it("the tour's card on a phone does not cover what it describes", async () => {
    const page = await study.open("pos=5");
    await page.setViewportSize({ width: 390, height: 844 });
    await page.locator("#startTour").click();
    for (let i = 1; i <= 15; i++) {
      const [top, bottom, strip, card] = await page.evaluate<number[]>(`(() => {
        const box = (selector) => document.querySelector(selector).getBoundingClientRect();
        return [box(".toured").top, box(".toured").bottom, box("#tokens").bottom, box("#tour").top];
      })()`);
      // its begin stands below the tokens, and it ends above the card, or has at least half of the space above it
      expect({ i, begins: i === 1 || top >= strip - 1 }).toEqual({ i, begins: true });
      expect({ i, seen: Math.min(bottom, card) - top >= Math.min(bottom - top, 300) }).toEqual({ i, seen: true });
      if (i < 15) await page.locator("#tourNext").click();
    }
    await page.close();
  });

  it("no page logged an error, or sent a request to another server", () => {
    expect(study.complaints).toEqual([]);
  });
});
