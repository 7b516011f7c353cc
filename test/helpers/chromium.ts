/*
 * Chromium, for tests of pages: Debian installs it as /usr/bin/chromium; the variable CHROMIUM names another.
 */
import { existsSync } from "node:fs";

const path = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** Its executable. Where it is missing, tests are skipped; in CI they run and fail. */
export const CHROMIUM = path;
export const hasChromium = existsSync(path) || Boolean(process.env.CI);
export const needsChromium = hasChromium ? "" : ` (skipped: there is no ${path}; apt-get install chromium)`;
