/*
 * The report: one page with charts, without scripts, that fetches nothing.
 */
import { expect, it } from "vitest";
import { chartsOf } from "../../src/bench/charts.ts";
import { reportOf } from "../../src/bench/report.ts";
import { measurement } from "../helpers/measurement.ts";

it("the page has a table and charts for each model, and neither scripts nor anything to fetch", async () => {
  const page = await reportOf(measurement());
  expect(page).toContain("<!doctype html>");
  expect(page.match(/<figure>/g)?.length).toBe(6);
  expect(page.match(/<tr/g)?.length).toBe(1 + measurement().rows.length);
  expect(page).not.toMatch(/<script|javascript:|@import|url\(/);
  const addresses = [...page.matchAll(/\b(?:src|href)="([^"]*)"/g)].map(([, address]) => address);
  expect(addresses.every((address) => address.startsWith("data:"))).toBe(true);
});

it("text from files is never markup", async () => {
  const page = await reportOf(measurement({ model: "<img src=x onerror=alert(1)>", why: '"><script>' }));
  expect(page).not.toMatch(/<img|<script/);
  expect(page).toContain("&lt;img src=x onerror=alert(1)&gt;");
});

it("each chart can be saved as an SVG that needs nothing of the page", async () => {
  const page = await reportOf(measurement());
  const files = [...page.matchAll(/download="([^"]+)" href="data:image\/svg\+xml;base64,([^"]+)"/g)];
  expect(files.map(([, name]) => name)).toContain("new-tokens-a-second.svg");
  for (const [, , base64] of files) {
    const svg = Buffer.from(base64, "base64").toString();
    expect(svg).toMatch(/^<svg[^>]* xmlns="http:\/\/www.w3.org\/2000\/svg"/);
    expect(svg).not.toMatch(/var\(--(a|b|c|dim|ink|paper)\)|currentColor/);
  }
});

it("a chart is shown only if there is data for it", () => {
  const [first] = measurement().rows;
  expect(chartsOf([first]).map(({ title }) => title)).toEqual(["New tokens a second"]);
  expect(chartsOf([]).length).toBe(0);
});
