/*
 * Whether the long versions of the tests run (`npm run test:full`).
 */
export const FULL = process.env.LLAMA2_TESTS === "full";

/** `long` under `npm run test:full`, `short` under `npm test`. */
export const shortOrLong = <T>(short: T, long: T): T => (FULL ? long : short);
