/*
 * The study page in headless Chromium: what a visitor changes and predicts, opens and saves.
 */
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stopJson } from "../../src/trace/export.ts";
import { TracedModel } from "../../src/trace/model.ts";
import { openTrace } from "../../src/trace/open.ts";
import { patch, withWeight } from "../../src/trace/patch.ts";
import type { TracedRun } from "../../src/trace/run.ts";
import { hasChromium, needsChromium } from "../helpers/chromium.ts";
import { llama2 } from "../helpers/cli.ts";
import { ROOT } from "../helpers/golden.ts";
import { hash, openStudy, type Page, type Study, settled, text, until } from "../helpers/studyPage.ts";
import { tempDir } from "../helpers/temp.ts";

const PROMPT = "Once upon a time, there was a little";
const START = `prompt=${encodeURIComponent(PROMPT)}`;
const model = await openTrace();

const sampler = () => model.sampler({ temperature: 0.8, topP: 0.9, seed: 42n });
/** A story's text after BOS, as the page writes it. */
const textOf = (of: TracedModel, run: TracedRun, by = sampler()): string => {
  of.continue(run, by, run.tokens.length + 24);
  const pieces = run.tokens.slice(1).map((token) => model.piece(token).replace("<0x0A>", "\n"));
  return pieces.join("").trimStart();
};

describe.skipIf(!hasChromium)(`what a visitor changes in the study page${needsChromium}`, () => {
  let study: Study;
  beforeAll(async () => {
    study = await openStudy();
  }, 300_000);
  afterAll(() => study?.close());

  const otherText = async (page: Page) => {
    await settled(page);
    return text(page, "#textOther");
  };

  it("a weight, in a sum that has it: the other run is Node's with that weight", async () => {
    const page = await study.open(`${START}&pos=8&stop=18&cell=44`);
    const name = await text(page, "#terms li:first-child span .link");
    await page.locator("#terms li:first-child span .link").click();
    expect(await page.evaluate("document.activeElement.id")).toBe("weightValue");
    await page.keyboard.type("9");
    await page.keyboard.press("Enter");
    await until(page, `!document.querySelector("#texts").hidden`);
    const weights = withWeight(model.weights, name, 9);
    const other = new TracedModel("other", model.config, weights, model.tokenizer);
    const expected = textOf(other, other.run(PROMPT));
    expect(await otherText(page)).toBe(expected);
    expect(expected).not.toBe(textOf(model, model.run(PROMPT)));
    expect(await text(page, "#verdictOther")).toContain("first stop that differs is L1.q");
    expect((await hash(page)).get("weight")).toBe(`${name}=9`);
    await page.close();
  });

  it("an activation, patched from another prompt at one stop and position", async () => {
    const page = await study.open(`${START}&view=compare&pos=5&stop=42`); // L2.res1
    await page.locator("#pasteFrom").fill("The big dog");
    await page.locator("#pasteFrom").press("Enter");
    await until(page, `!document.querySelector("#texts").hidden`);
    const source = model.run("The big dog");
    const hooks = patch(source, source.tokens.length - 1, { id: "res1", layer: 2 }, 5);
    expect(await otherText(page)).toBe(textOf(model, model.run(PROMPT, hooks)));
    expect((await hash(page)).get("patch")).toBe("L2.res1@5<3");
    await page.locator("#paste").click(); // take it out
    await until(page, `document.querySelector("#texts").hidden`);
    await page.close();
  });

  it("the temperature and seed of the other run", async () => {
    const page = await study.open(`${START}&view=compare&pos=5`);
    await page.locator("#temp2").fill("0");
    await page.locator("#temp2").press("Tab");
    await until(page, `!document.querySelector("#texts").hidden`);
    expect(await otherText(page)).toBe(textOf(model, model.run(PROMPT), model.sampler()));
    await page.locator("#temp2").fill("");
    await page.locator("#seed2").fill("7");
    await page.locator("#seed2").press("Tab");
    const seventh = textOf(model, model.run(PROMPT), model.sampler({ temperature: 0.8, topP: 0.9, seed: 7n }));
    await until(page, `document.querySelector("#textOther").textContent === ${JSON.stringify(seventh)}`);
    await page.close();
  });

  it("says what is wrong with a change in a link, and shows the first run only", async () => {
    const page = await study.open(`${START}&view=compare&weight=${encodeURIComponent("wq[99][0][0]=1")}`);
    expect(await text(page, "#message")).toContain("is no weight of this model");
    expect(await page.locator("#texts").isVisible()).toBe(false);
    await page.close();
  });

  it("compares a dropped trace stop by stop, and names the first stop that differs", async () => {
    const folder = tempDir();
    const file = join(folder, "trace.json");
    const { stdout } = await llama2(["trace", "-i", "One day, Tom saw", "--backend", "wasm", "--json"]);
    writeFileSync(file, stdout);
    const page = await study.open();
    await page.locator("#file").setInputFiles([file]);
    await until(page, `/The same/.test(document.querySelector("#traceWords").textContent)`);
    expect(await text(page, "#traceWords")).toMatch(/^stories2M on wasm\. The same, bit for bit, at all 11 stops/);
    expect(await page.locator("#diffTable tbody tr").count()).toBe(11);
    const run = model.run("One day, Tom saw");
    const stops = run.at(4).stops.map(stopJson);
    const act = stops.find(({ id, layer }) => id === "act" && layer === 3);
    if (act) act.tensors[0].values[5] = 1;
    const changed = { model: "stories2M", backend: "ts", tokens: run.tokens, position: 4, stops };
    writeFileSync(file, JSON.stringify(changed));
    await page.locator("#file").setInputFiles([file]);
    await until(page, `/differ first/.test(document.querySelector("#traceWords").textContent)`);
    expect(await text(page, "#traceWords")).toContain("They differ first at L3.act");
    expect(await text(page, "#diffTable .lit th")).toBe("L3.act");
    await page.locator("#file").setInputFiles([join(ROOT, "package.json")]);
    await until(page, `/is not a trace/.test(document.querySelector("#message").textContent)`);
    await page.close();
  });

  it("opens a folder with weights and tokenizer", async () => {
    const folder = join(tempDir(), "a-model");
    await llama2(["convert", join(ROOT, "models", "stories2M.bin"), folder, "--to", "safetensors"]);
    mkdirSync(folder, { recursive: true });
    cpSync(join(ROOT, "models", "tok2048.bin"), join(folder, "tokenizer.bin"));
    const page = await study.open(START);
    const before = await page.evaluate(`document.querySelector("#tokens").textContent`);
    await page.locator("#folder").setInputFiles(folder as unknown as string[]);
    await until(page, `document.querySelector("#model").textContent === "a-model"`);
    await settled(page);
    expect(await page.evaluate(`document.querySelector("#tokens").textContent`)).toBe(before);
    expect((await hash(page)).get("model")).toMatch(/^[0-9a-f]{16}$/);
    await page.close();
  });

  it("shows a dropped run.c below the source: its line is highlighted, and both scroll together", async () => {
    const file = join(tempDir(), "run.c");
    writeFileSync(file, Array.from({ length: 973 }, (_, i) => `// line ${i + 1}`).join("\n"));
    const page = await study.open(`${START}&pos=3&stop=2`); // L0.q
    await page.locator("#file").setInputFiles([file]);
    await until(page, `document.querySelector("#runc .lit")`);
    expect(await text(page, "#message")).toContain("is not the version of 350e04f");
    expect([await text(page, "#code .lit .gutter"), await text(page, "#runc .lit code")]).toEqual([
      "259",
      "// line 260",
    ]);
    await page.locator("#code").focus();
    await page.evaluate(`document.querySelector("#code").scrollTop = 0`);
    await until(page, `document.querySelector("#runc").scrollTop < 400`);
    await page.evaluate(`document.querySelector("#code").scrollTop = 354 * 20`);
    await until(
      page,
      `document.querySelector("#runc").scrollTop > 340 * 20 - document.querySelector("#runc").clientHeight`,
    );
    await page.locator("#showTs").click();
    expect(await page.locator("#runc").isVisible()).toBe(false);
    await page.close();
  });

  it("keeps the sampler's sliders and the wrong pairing of RoPE in the address", async () => {
    const page = await study.open(`${START}&view=sampler&pos=10`);
    await page.locator("#tempRange").focus();
    for (let i = 0; i < 4; i++) await page.locator("#tempRange").press("ArrowRight");
    const out = await text(page, "#tempOut");
    expect(out).toBe("1.00");
    await page.locator("[data-view=rope]").click();
    await page.locator("#pairWrong").click();
    const again = await study.open((await hash(page)).toString());
    expect(await text(again, "#ropeWords")).toContain("Computed here");
    await again.locator("[data-view=sampler]").click();
    expect(await text(again, "#tempOut")).toBe(out);
    await again.locator("#benchReset").click();
    expect(await text(again, "#tempOut")).toBe("0.80");
    for (const each of [page, again]) await each.close();
  });

  it("asks at any stop before it shows a value, answers with the run's value, and asks missed questions again", async () => {
    const page = await study.open(`${START}&pos=5&stop=18&cell=3`);
    await page.locator("#predict").click();
    const isShown = () => page.evaluate(`getComputedStyle(document.querySelector("#figure")).visibility`);
    expect(await isShown()).toBe("hidden");
    const value = model.run(PROMPT).values(5, { id: "q", layer: 1 })[3];
    const [right, wrong] = value >= 0 ? ["positive", "negative"] : ["negative", "positive"];
    await page.evaluate(
      `[...document.querySelectorAll("#ask button")].find((b) => b.textContent === "${wrong}").click()`,
    );
    expect(await isShown()).toBe("visible");
    const answer = (await text(page, "#ask .answer")).replace("−", "-");
    expect(answer).toContain(`You said ${wrong}. It is ${value.toFixed(7)}`);
    await page.locator("#next").click(); // the next stop asks as well
    expect(await isShown()).toBe("hidden");
    await page.locator("#missed button").click();
    expect(await text(page, "#name")).toBe("query");
    await page.evaluate(
      `[...document.querySelectorAll("#ask button")].find((b) => b.textContent === "${right}").click()`,
    );
    expect(await text(page, "#ask .answer")).toMatch(/^Right\./);
    await page.close();
  });

  it("has an answerable question for every kind of stop, and hides the values that would answer it", async () => {
    const page = await study.open(`${START}&pos=4&stop=0&ask=1`);
    for (const stop of [0, ...Array.from({ length: 16 }, (_, i) => 33 + i), 81, 82]) {
      await page.evaluate(`location.hash = location.hash.replace(/stop=\\d+/, "stop=${stop}")`);
      await until(page, `document.querySelector("#where").textContent.includes("stop ${stop + 1} of")`);
      expect(await page.locator("#figure").isVisible(), `${stop}`).toBe(false);
      const input = page.locator("#ask input");
      if ((await input.count()) > 0) {
        await input.fill("1");
        await input.press("Enter");
      } else await page.locator("#ask button").first().click();
      expect(await text(page, "#ask .answer")).toMatch(/^(Right|You said .+)\. /);
    }
    await page.close();
  });

  it("shows a stop embedded in another page, with a link to the full page", async () => {
    const page = await study.open(`${START}&pos=8&stop=24&cell=44`);
    await page.locator("#share").click();
    await page.locator("[data-export=embed]").click();
    const code = await page.locator("#taken").inputValue();
    const course = await study.elsewhere(`<h1>A course</h1>${code}`);
    const [, frame] = course.frames();
    for (let i = 0; i < 400 && !(await frame.evaluate("document.body?.matches('.ready:not(.busy)')")); i++)
      await new Promise((resolve) => setTimeout(resolve, 25));
    const shown = (selector: string) =>
      frame.evaluate<boolean>(`document.querySelector("${selector}").checkVisibility()`);
    expect([await shown("header"), await shown("#tokens"), await shown("#figure"), await shown("#how")]).toEqual([
      false,
      false,
      true,
      true,
    ]);
    expect(await frame.evaluate(`document.querySelector("#where").textContent`)).toContain("weighted values");
    const whole = await frame.evaluate<string>(`document.querySelector("#whole").href`);
    expect(whole).toContain("stop=24");
    expect(whole).not.toContain("embed");
    await course.close();
    await page.close();
  });

  it("runs to breakpoints on lines and layers, which the address keeps", async () => {
    const page = await study.open(`${START}&pos=3&stop=7`); // L0.probs
    await page.keyboard.press(".");
    await page.keyboard.press("}");
    await page.keyboard.press("}");
    await page.keyboard.press("l"); // L2
    expect((await hash(page)).get("breaks")).toBe("probs,L2");
    const again = await study.open((await hash(page)).toString().replace(/stop=\d+/, "stop=9"));
    const stops = [];
    for (let i = 0; i < 3; i++) {
      await again.keyboard.press("c");
      stops.push((await hash(again)).get("stop"));
    }
    expect(stops).toEqual(["23", "33", "39"]); // L1.probs, the begin of L2, L2.probs
    for (const each of [page, again]) await each.close();
  });

  it("explains its terms, and can raise the contrast", async () => {
    const page = await study.open(`${START}&pos=3&stop=7`);
    await page.locator("#why .term").first().click();
    expect(await text(page, "#note")).toMatch(/^softmax e to the power/i);
    await page.keyboard.press("Escape");
    const ink = () => page.evaluate(`getComputedStyle(document.body).color`);
    const before = await ink();
    await page.locator("#contrast").click();
    expect(await ink()).not.toBe(before);
    expect((await hash(page)).get("contrast")).toBe("more");
    await page.close();
  });

  it("a long prompt fills the context: every screen works at 512 positions, and its sums are exact", async () => {
    const long = "and ".repeat(600);
    const page = await study.open(`${new URLSearchParams({ prompt: long, pos: "511", stop: "8", cell: "7" })}`);
    expect(await page.locator("#tokens button:not(.more)").count()).toBe(512);
    expect(await text(page, "#verdict")).toContain("512 float32 terms give");
    expect(await text(page, "#verdict")).toContain("to the last bit what the run stored");
    for (const view of ["attention", "rope", "sampler", "compare", "step"]) {
      await page.locator(`[data-view=${view}]`).click();
      expect(await page.evaluate("document.documentElement.scrollWidth"), view).toBe(1280);
    }
    await page.keyboard.press("n");
    expect(await text(page, "#name")).toBe("projection");
    await page.close();
  });

  it("no page logged an error, or sent a request to another server", () => {
    expect(study.complaints).toEqual([]);
  });
});
