/*
 * The study page used by keyboard alone: the whole tour, and exploring without it.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasChromium, needsChromium } from "../helpers/chromium.ts";
import { hash, openStudy, type Page, type Study, settled, text, until } from "../helpers/studyPage.ts";

/** Press Tab until what has the focus matches. */
async function tabTo(page: Page, selector: string): Promise<void> {
  for (let i = 0; i < 120; i++) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(`document.activeElement.matches(${JSON.stringify(selector)})`)) return;
  }
  throw new Error(`120 times Tab do not lead to ${selector}`);
}
const focused = (page: Page) => page.evaluate<string>("document.activeElement.id");

describe.skipIf(!hasChromium)(`the study page by keyboard alone${needsChromium}`, () => {
  let study: Study;
  beforeAll(async () => {
    study = await openStudy();
  }, 300_000);
  afterAll(() => study?.close());

  it("takes the whole tour, gets the missed questions again, and leaves", async () => {
    const page = await study.open("pos=5");
    await tabTo(page, "#startTour");
    await page.keyboard.press("Enter");
    for (let i = 1; i <= 15; i++) {
      expect(await text(page, "#tourCount")).toBe(`${i} of 15`);
      expect(await focused(page)).toBe("tour");
      await page.keyboard.press("Tab"); // to the first answer
      if (await page.evaluate("document.activeElement.matches('#tourAsk input')")) await page.keyboard.type("-7");
      await page.keyboard.press("Enter");
      expect(await text(page, "#tourAsk .answer"), `${i}`).not.toBe("");
      expect(await focused(page)).toBe("tourNext");
      if (i < 15) await page.keyboard.press("Enter");
    }
    expect(await text(page, "#tourNext")).toMatch(/^Again: \d+ missed$/);
    await page.keyboard.press("Enter");
    expect(await page.locator("#tourAsk .answer").count()).toBe(0);
    await page.keyboard.press("Escape");
    expect(await page.locator("#tour").isVisible()).toBe(false);
    expect(await focused(page)).toBe("startTour");
    await page.close();
  });

  it("explores: a cell, its sum, why all the way down and back, a prediction, every screen", async () => {
    const page = await study.open("pos=5&stop=18");
    await tabTo(page, "#figure");
    for (const key of ["ArrowRight", "ArrowDown", "ArrowRight"]) await page.keyboard.press(key);
    expect(await text(page, "#readout")).toMatch(/^q\[33\] = /);
    await tabTo(page, "#terms button[aria-label]");
    await page.keyboard.press("Enter");
    expect(await text(page, "#name")).toBe("norm");
    await page.keyboard.press("w");
    expect(await text(page, "#origin")).toContain("The end of the way");
    await page.keyboard.press("o");
    expect(await page.locator("#how").isVisible()).toBe(false);
    await page.keyboard.press("n");
    await page.keyboard.press("p");
    await tabTo(page, "#ask button, #ask input");
    if (await page.evaluate("document.activeElement.matches('input')")) await page.keyboard.type("1");
    await page.keyboard.press("Enter");
    expect(await page.locator("#ask .answer").count()).toBe(1);
    await page.keyboard.press("Escape");

    await tabTo(page, "#track");
    await page.keyboard.press("ArrowRight");
    expect((await hash(page)).get("stop")).toBe("2");
    for (const view of ["attention", "rope", "sampler", "compare"]) {
      await tabTo(page, `[data-view=${view}]`);
      await page.keyboard.press("Enter");
      expect(await page.locator(`#${view}`).isVisible()).toBe(true);
      if (view === "attention") {
        await tabTo(page, "#attProbs");
        await page.keyboard.press("ArrowDown");
        expect(await text(page, "#looksAt")).toBe("Where head 1 looks");
      }
      if (view === "sampler") {
        const chosen = () => text(page, "#tempOut");
        const before = await chosen();
        await tabTo(page, "#tempRange");
        await page.keyboard.press("ArrowLeft");
        expect(await chosen()).not.toBe(before);
      }
    }
    await tabTo(page, "#parts button");
    await page.keyboard.press("Space");
    await until(page, `!document.querySelector("#texts").hidden`);
    await settled(page);
    expect((await hash(page)).get("off")).toBe("L0.H0");
    await page.close();
  });

  it("no page logged an error", () => {
    expect(study.complaints).toEqual([]);
  });
});
