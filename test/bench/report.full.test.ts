/*
 * The report in headless Chromium.
 */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { reportOf } from "../../src/bench/report.ts";
import { CHROMIUM, hasChromium, needsChromium } from "../helpers/chromium.ts";
import { measurement } from "../helpers/measurement.ts";
import { tempDir } from "../helpers/temp.ts";

/** The page as Chromium has it, and what its console says: also of what the page's own policy forbids it to fetch. */
async function opened(page: string, width = 1280): Promise<{ dom: string; console: string[] }> {
  const folder = tempDir();
  const path = join(folder, "report.html");
  writeFileSync(path, page);
  const flags = ["--headless", "--no-sandbox", "--disable-gpu", `--user-data-dir=${join(folder, "profile")}`];
  flags.push(`--window-size=${width},1000`);
  const args = [...flags, "--enable-logging=stderr", "--dump-dom", pathToFileURL(path).href];
  const { stdout, stderr } = await promisify(execFile)(CHROMIUM, args, { maxBuffer: 1 << 26 });
  return { dom: stdout, console: stderr.split("\n").filter((line) => line.includes("CONSOLE")) };
}

it.skipIf(!hasChromium)(`it is drawn without an error and without a request${needsChromium}`, async () => {
  const page = await reportOf(measurement());
  const { dom, console } = await opened(page);
  expect(console).toEqual([]);
  expect(dom.match(/<svg/g)?.length).toBe(6);
  // any request or script would be noticed
  const fetching = await opened(page.replace("</main>", '<img src="http://127.0.0.1:9/x.png"></main>'));
  expect(fetching.console.length).toBeGreaterThan(0);
});

/** A4 between Chromium's margins, in CSS pixels. */
const PAPER = 718;

it.skipIf(!hasChromium)(`on paper nothing is cut off${needsChromium}`, async () => {
  const page = (await reportOf(measurement()))
    .replace("@media print", "@media all")
    .replace(/<meta http-equiv="Content-Security-Policy"[^>]*>/, "")
    .replace(
      "</body>",
      `<script>document.body.dataset.cut = [...document.querySelectorAll("table, svg, .wide")]
        .filter((one) => one.getBoundingClientRect().right > innerWidth || getComputedStyle(one).overflowX === "auto").length;
      </script></body>`,
    );
  const { dom } = await opened(page, PAPER);
  expect(dom.match(/data-cut="(\d+)"/)?.[1]).toBe("0");
});
