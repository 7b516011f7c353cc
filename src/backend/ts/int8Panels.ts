/*
 * The ts backend's layout of an int8 model: panels of sixteen rows, with two rows in one number.
 *
 * JavaScript multiplies one number at a time, but float64 integers are exact up to 2^53, and the int8 sums of a group
 * need far less. So two weights share a number, 24 bits apart, and one multiplication serves two rows:
 *
 *     (w0 + w3 * 2^24) * x  =  w0 * x  +  w3 * x * 2^24
 *
 * The sums of both rows grow side by side and are separated at the end. Such a pair is two bytes of an int32 with a
 * gap between them, so a word of four bytes holds two pairs and nothing is wasted:
 *
 *     word                 w3 w2 w1 w0
 *     word & 0xff0000ff    w3  0  0 w0
 *     turned by 16 bits    w1 w0 w3 w2
 *     & 0xff0000ff         w1  0  0 w2
 *
 * The upper byte is signed, as int8 is. The lower one would be read as 0..255, so w0 and w2 are stored as w + 128, and
 * 128 * (the sum of x) is subtracted from the result. Integer sums do not depend on the order; the float32 operations
 * are done in the order of matmul in quantize.ts. So the result is equal, bit for bit.
 */
import { f32 } from "../../llama2/math.ts";
import { mallocQuantized, type QuantizedTensor, quantize, runOf } from "../../llama2/quantize.ts";
import { groupSizeOf, int8Pieces, type LoadMatrix } from "../../llama2/weights.ts";

const PANEL = 16;
/** The two bytes of a word that make a pair. */
const PAIR = 0xff0000ff | 0;
/** What the upper row of a pair is multiplied with. */
const UPPER = 2 ** 24;
/** Adding and subtracting it rounds a float64 to a multiple of UPPER. */
const ROUND_TO_UPPER = 1.5 * 2 ** 52 * UPPER;
/** Added to the lower row of a pair. */
const BIAS = 128;
/** The most columns that are summed at once: 256 * 128 * 128 = 2^22, so a lower row's sum cannot reach the upper one's. */
const MAX_COLUMNS = 256;

/** A matrix in panels of sixteen rows. */
export interface Int8Panels {
  words: Int32Array; // (ceil(d / 16), n, 4), each for four rows
  s: Float32Array; // (d * n / groupSize) scales, in the order of the rows
  d: number;
  n: number;
  groupSize: number;
  x: Activations; // matmul's scratch: its x, quantized
}

/** Quantized activations, and their running sums for the bias. */
interface Activations {
  quantized: QuantizedTensor; // (n)
  values: Float64Array; // (n) the same int8 numbers
  offsets: Float64Array; // (n + 1) 128 * the sum of the values before each
}

/** xout (d) = w (d, n) @ x (n), as matmul in quantize.ts. */
export function matmul(xout: Float32Array, x: Float32Array, w: Int8Panels): void {
  const { d, n, groupSize } = w;
  prepare(w.x, x);
  const run = runOf(n, groupSize);
  const addGroups = run === groupSize ? addAll : addEnded;
  const sums = new Float64Array(PANEL);
  xout.fill(0);
  for (let i = 0; i < d; i += PANEL) {
    for (let j = 0; j < n; ) {
      const end = Math.min(j - (j % run) + run, j + MAX_COLUMNS);
      sumColumns(sums, w, i, j, end);
      if (end % run === 0) addGroups(xout, sums, w, i, end);
      j = end;
    }
  }
}

/** Quantize x, and compute its running sums, for the weights that are stored as w + 128. */
function prepare({ quantized, values, offsets }: Activations, x: Float32Array): void {
  quantize(quantized, x);
  for (let j = 0; j < values.length; j++) {
    values[j] = quantized.q[j];
    offsets[j + 1] = offsets[j] + BIAS * values[j];
  }
}

/** Add w * x of the columns `begin` to `end` to the whole sums of the sixteen rows from `i` on. */
function sumColumns(sums: Float64Array, w: Int8Panels, i: number, begin: number, end: number): void {
  const { words } = w;
  const { values, offsets } = w.x;
  // the sums of two rows each, the lower one's without its bias
  const bias = offsets[end] - offsets[begin];
  let sum30 = -bias;
  let sum12 = -bias;
  let sum74 = -bias;
  let sum56 = -bias;
  let sumB8 = -bias;
  let sum9A = -bias;
  let sumFC = -bias;
  let sumDE = -bias;
  for (let j = begin, at = (i / 4) * w.n + 4 * begin; j < end; j++, at += 4) {
    const xj = values[j];
    const word0 = words[at];
    const word1 = words[at + 1];
    const word2 = words[at + 2];
    const word3 = words[at + 3];
    sum30 += (word0 & PAIR) * xj;
    sum12 += (turned(word0) & PAIR) * xj;
    sum74 += (word1 & PAIR) * xj;
    sum56 += (turned(word1) & PAIR) * xj;
    sumB8 += (word2 & PAIR) * xj;
    sum9A += (turned(word2) & PAIR) * xj;
    sumFC += (word3 & PAIR) * xj;
    sumDE += (turned(word3) & PAIR) * xj;
  }
  takeApart(sums, 3, 0, sum30);
  takeApart(sums, 1, 2, sum12);
  takeApart(sums, 7, 4, sum74);
  takeApart(sums, 5, 6, sum56);
  takeApart(sums, 11, 8, sumB8);
  takeApart(sums, 9, 10, sum9A);
  takeApart(sums, 15, 12, sumFC);
  takeApart(sums, 13, 14, sumDE);
}

/** A word with its halves swapped: compilers make this one instruction. */
const turned = (word: number) => (word << 16) | (word >>> 16);

function takeApart(sums: Float64Array, upper: number, lower: number, pair: number): void {
  const above = pair + ROUND_TO_UPPER - ROUND_TO_UPPER;
  sums[lower] += pair - above;
  sums[upper] += above / UPPER;
}

/** The groups of all rows end before column `end`: scale their sums, add them to xout, and reset them. */
function addAll(xout: Float32Array, sums: Float64Array, { s, d, n, groupSize, x }: Int8Panels, i: number, end: number) {
  const groups = n / groupSize; // of a row
  const xGroup = end / groupSize - 1;
  const xScale = x.quantized.s[xGroup];
  const rows = Math.min(PANEL, d - i);
  for (let k = 0, wGroup = i * groups + xGroup; k < rows; k++, wGroup += groups) {
    xout[i + k] += f32(f32(f32(sums[k]) * s[wGroup]) * xScale);
    sums[k] = 0;
  }
}

/** The same if groups straddle rows: only some rows' groups end here. */
function addEnded(
  xout: Float32Array,
  sums: Float64Array,
  { s, d, n, groupSize, x }: Int8Panels,
  i: number,
  end: number,
) {
  const xEnds = end % groupSize === 0 || end === n;
  const xScale = x.quantized.s[Math.floor((end - 1) / groupSize)];
  for (let row = i; row < i + PANEL && row < d; row++) {
    const wEnd = row * n + end;
    if (!xEnds && wEnd % groupSize !== 0) continue;
    const scale = s[Math.floor((wEnd - 1) / groupSize)];
    xout[row] += f32(f32(f32(sums[row - i]) * scale) * xScale);
    sums[row - i] = 0;
  }
}

/** The byte index of row `row`, column 0; column j is 16 * j bytes further on. */
const startOf = (row: number, n: number) => (row - (row % PANEL)) * n + (row % PANEL);
/** Even rows are the lower ones of their pairs. */
const biasOf = (row: number) => (row % 2 === 0 ? BIAS : 0);

/** The bytes of a matrix of d rows and n columns, with its scales and the room for its activations. */
export function int8PanelBytes(d: number, n: number, groupSize: number): number {
  const activations = n + 4 * Math.ceil(n / groupSize) + 8 * n + 8 * (n + 1);
  return Math.ceil(d / PANEL) * PANEL * n + (4 * d * n) / groupSize + activations;
}

export const loadInt8Panels: LoadMatrix = async (source, name, layer, d, n) => {
  const groupSize = groupSizeOf(source.formatOf(name));
  const w = {
    words: new Int32Array(Math.ceil(d / PANEL) * n * (PANEL / 4)),
    s: new Float32Array((d * n) / groupSize),
    d,
    n,
    groupSize,
    x: {
      quantized: mallocQuantized(n, groupSize),
      values: new Float64Array(n),
      offsets: new Float64Array(n + 1),
    },
  };
  for await (const { q, scales, offset } of int8Pieces(source, name, layer)) {
    fill(w, q, offset);
    w.s.set(scales, offset / groupSize);
  }
  return {
    matmul: (xout, x) => matmul(xout, x, w),
    copyRow: (xout, row) => copyRow(xout, w, row),
  };
};

function copyRow(xout: Float32Array, { words, s, n, groupSize }: Int8Panels, row: number): void {
  const bytes = new Int8Array(words.buffer);
  const start = startOf(row, n);
  for (let j = 0; j < n; j++) {
    const q = ((bytes[start + j * PANEL] - biasOf(row)) << 24) >> 24;
    xout[j] = q * s[Math.floor((row * n + j) / groupSize)];
  }
}

/** Put the numbers q into w. They are in row order, and the first belongs at `offset`. */
function fill(w: Int8Panels, q: Int8Array, offset: number): void {
  const bytes = new Int8Array(w.words.buffer);
  let row = Math.floor(offset / w.n);
  let column = offset % w.n;
  for (let i = 0; i < q.length; row++, column = 0) {
    const start = startOf(row, w.n);
    const bias = biasOf(row);
    for (; column < w.n && i < q.length; column++, i++) {
      bytes[start + column * PANEL] = q[i] + bias;
    }
  }
}
