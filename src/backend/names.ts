/*
 * The backends by name.
 */

/** The order in which `auto` tries them, the fastest first. */
export const BACKENDS = ["cuda", "cpu", "wasm", "ts"] as const;
export type BackendName = (typeof BACKENDS)[number];
