/*
 * The results of `npm run fuzz -- FORMAT --add FILE` as Markdown.
 */

/** A line for each format. */
export function fuzzTableOf({ formats }) {
  const rows = formats.map(({ format, inputs, untyped, failures, slowestMs, peakBytes, linesCoveredPercent }) => {
    const more = failures - untyped;
    return [
      format,
      inputs.toLocaleString("en-US"),
      more > 0 ? `${untyped}, and ${more} other failures` : untyped,
      `${Math.round(slowestMs)} ms`,
      `${Math.round(peakBytes / 2 ** 20)} MiB`,
      `${Math.round(linesCoveredPercent)} %`,
    ];
  });
  const head = ["format", "inputs", "untyped errors", "slowest", "memory", "lines of its readers that ran"];
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
