/*
 * Whether the long versions of the tests run (`npm run test:full`).
 */
export const FULL = process.env.LLAMA2_TESTS === "full";

/** Without the cases of the large shape under `npm test`, where one test of a kind has it. */
export const withoutLarge = <T extends { shape: string }>(cases: T[]): T[] =>
  FULL ? cases : cases.filter(({ shape }) => shape !== "15M");

/** `long` under `npm run test:full`, `short` under `npm test`. */
export const shortOrLong = <T>(short: T, long: T): T => (FULL ? long : short);
