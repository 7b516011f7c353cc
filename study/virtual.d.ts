/* Modules that scripts/build-study.mjs generates for the page. */
declare module "virtual:source" {
  /** The lines of transformer.ts, in parts with the kind of each: "keyword", "comment", or "" for plain text. */
  const lines: readonly (readonly [kind: string, text: string])[][];
  export default lines;
}
declare module "virtual:pinned" {
  /** sha256 of the logits of runs of the bundled model, as run.c computed them. */
  const hashes: readonly string[];
  export default hashes;
}
