/*
 * The KV cache as memory.
 */
import type { StopId } from "../src/trace/stops.ts";
import { app, config, here } from "./app.ts";
import { $ } from "./dom.ts";
import { type Box, begin, image, largest, palette, text } from "./draw.ts";
import { state } from "./state.ts";

/** Draw the KV cache as memory: the filled part, this position's row, and the bytes. */
export function drawCache(): void {
  const { nLayers, nKvHeads, nHeads, dim, seqLen } = config();
  const kvDim = (dim / nHeads) * nKvHeads;
  const canvas = $<HTMLCanvasElement>("cache");
  const [c, w] = begin(canvas, 116);
  const { id, layer } = here();
  const gap = 8;
  const width = (w - gap * (nLayers - 1)) / nLayers;
  const rows = Math.min(seqLen, Math.max(32, app.story.run.tokens.length));
  const rowHeight = 92 / rows;
  const { keyCache, valueCache } = app.story.run.transformer.state;
  let row: Box | undefined;
  for (let l = 0; l < nLayers; l++) {
    for (const [which, cache] of [keyCache, valueCache].entries()) {
      const x = l * (width + gap) + which * (width / 2);
      const half = width / 2 - 2;
      c.fillStyle = palette.wash;
      c.fillRect(x, 0, half, 92);
      const at = (l * seqLen + state.pos) * kvDim;
      const isWritten =
        l < layer || (l === layer && stopOrder(id) >= (which === 0 ? 2 : 3)) || (layer < 0 && state.stop > 0);
      const filled = state.pos + (isWritten ? 1 : 0);
      const max = largest(cache.subarray(l * seqLen * kvDim, at + kvDim)) || 1;
      const columns = Math.min(kvDim, 24);
      const values = new Float32Array(filled * columns);
      for (let row = 0, i = 0; row < filled; row++) {
        for (let j = 0; j < columns; j++) {
          values[i++] = cache[(l * seqLen + row) * kvDim + Math.floor((j * kvDim) / columns)];
        }
      }
      c.imageSmoothingEnabled = rows > 92;
      if (filled > 0) {
        c.drawImage(image(values, columns, filled, max), 0, 0, columns, filled, x, 0, half, filled * rowHeight);
      }
      const isWrittenHere = layer === l && (which === 0 ? id === "k" || id === "rope" : id === "v");
      if (isWrittenHere) row = { x, y: state.pos * rowHeight, w: half, h: rowHeight };
    }
    const isHere = l === layer;
    text(c, `${l}`, l * (width + gap), 106, { size: 11, bold: isHere, color: isHere ? palette.ink : palette.soft });
    if (width > 48) text(c, "k", l * (width + gap) + 16, 106, { size: 11 });
    if (width > 48) text(c, "v", l * (width + gap) + width / 2, 106, { size: 11 });
  }
  flash(row);
  const size = 2 * nLayers * kvDim * 4;
  const bytes = (count: number) => count.toLocaleString("en-US");
  $("bytes").textContent = `${bytes((state.pos + 1) * size)} of ${bytes(seqLen * size)} bytes`;
  canvas.ariaLabel = `Keys and values of ${nLayers} layers, ${state.pos + 1} of ${seqLen} positions filled`;
}

const stopOrder = (id: StopId): number =>
  ["norm1", "q", "k", "v"].indexOf(id) === -1 ? 9 : ["norm1", "q", "k", "v"].indexOf(id);

/** The row that was just written: an outline that flashes once. */
function flash(row: Box | undefined): void {
  const mark = $("flash");
  const where = row ? `${state.pos} ${state.stop}` : "";
  mark.hidden = !row;
  if (!row || mark.dataset.where === where) return;
  mark.dataset.where = where;
  const { style } = mark;
  [style.left, style.top] = [`${row.x - 2}px`, `${row.y - 3}px`];
  [style.width, style.height] = [`${row.w + 4}px`, `${Math.max(row.h, 2) + 6}px`];
  mark.getAnimations().forEach((animation) => {
    animation.currentTime = 0;
    animation.play();
  });
}
