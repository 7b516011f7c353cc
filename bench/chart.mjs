/*
 * The README's chart: a result of npm run bench as an SVG, tokens a second beside llama2.c's.
 */

/** What is drawn, from top to bottom, each for the models that were measured. */
const GROUPS = [
  { row: "cpu", what: "cpu, 1 thread", name: "cpu" },
  { row: "wasm", what: "wasm, 1 thread", name: "wasm" },
  { row: "int8", what: "int8, 1 thread", name: "cpu, int8" },
];
const MODELS = ["15M", "42M", "110M"];

const WIDTH = 760;
const LABEL = 150; // pixels for the names on the left
const VALUE = 170; // pixels for the figures on the right
const BAR = 13;
const ROW = 2 * BAR + 12;
const TITLE = 34;

const STYLE = `
  text { font: 13px ui-sans-serif, system-ui, sans-serif; fill: #1f2328 }
  .quiet { fill: #656d76 } .ours { fill: #0b6e68 } .theirs { fill: #c9c5bc }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .quiet { fill: #9198a1 } .ours { fill: #3fb8ad } .theirs { fill: #4d5359 }
  }`;

const text = (x, y, words, rest = "") => `<text x="${x}" y="${y}"${rest}>${words}</text>`;
const bar = (y, width, kind) =>
  `<rect class="${kind}" x="${LABEL}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" rx="2"/>`;
const speed = (median) => (median < 100 ? median.toFixed(1) : median.toFixed(0));

/** The pairs of bars of one group, ours above llama2.c's, scaled to the group's fastest. */
function group({ row, what, name }, figures, top) {
  const pairs = MODELS.map((model) =>
    figures.find((one) => one.row === row && one.what === what && one.model === model && /^run/.test(one.against)),
  ).filter((figure) => figure?.counts);
  const most = Math.max(...pairs.flatMap(({ ours, reference }) => [ours.median, reference.median]));
  const widthOf = (median) => ((WIDTH - LABEL - VALUE) * median) / most;
  return pairs.flatMap(({ model, ours, reference, ratio, against }, i) => {
    const y = top + i * ROW;
    const end = LABEL + widthOf(Math.max(ours.median, reference.median)) + 10;
    return [
      text(LABEL - 12, y + BAR + 4, `${name} <tspan class="quiet">${model}</tspan>`, ' text-anchor="end"'),
      bar(y, widthOf(ours.median), "ours"),
      bar(y + BAR, widthOf(reference.median), "theirs"),
      text(end, y + 11, `${speed(ours.median)} tok/s, ${ratio.median.toFixed(2)} x`),
      text(end, y + BAR + 11, `${speed(reference.median)} ${against.split(" ")[0]}`, ' class="quiet"'),
    ];
  });
}

/** @returns the SVG, with a light and a dark style */
export function chartOf({ figures, machine, date }) {
  const parts = [];
  let top = TITLE + 14;
  for (const each of GROUPS) {
    const drawn = group(each, figures, top);
    parts.push(...drawn);
    top += (drawn.length / 5) * ROW + (drawn.length ? 14 : 0);
  }
  const height = top + 12;
  const title = "Tokens a second on one thread: llama2.ts above llama2.c's fastest build";
  const source = `${machine.cpu}, ${date.slice(0, 10)}; each backend in a scale of its own`;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img">`,
    `<title>${title}</title>`,
    `<style>${STYLE}</style>`,
    text(0, 16, title, ' font-weight="600"'),
    text(0, 34, source, ' class="quiet"'),
    ...parts,
    "</svg>",
  ].join("\n")}\n`;
}
