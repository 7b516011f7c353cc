/** What a model can be converted to. */
export const TARGETS = ["v0", "v1", "v2", "safetensors"] as const;
export type Target = (typeof TARGETS)[number];
