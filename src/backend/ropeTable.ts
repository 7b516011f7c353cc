/*
 * The RoPE angles for kernels that look them up: made by the reference, row by row, as far as reading goes.
 */
import { type Config, headSizeOf, ropeAngles, ropeFrequencies } from "../llama2/transformer.ts";

export class RopeTable {
  private readonly freq: Float32Array; // (headSize / 2)
  private readonly put: (pos: number, fcr: Float32Array, fci: Float32Array) => void;
  private readonly fcr: Float32Array; // (headSize / 2)
  private readonly fci: Float32Array; // (headSize / 2)
  private rows = 0;

  /** @param put takes the cosines and sines of a position to where the kernels find them */
  constructor(config: Config, put: RopeTable["put"]) {
    this.freq = ropeFrequencies(config);
    this.put = put;
    this.fcr = new Float32Array(headSizeOf(config) / 2);
    this.fci = new Float32Array(headSizeOf(config) / 2);
  }

  /** Have the rows up to that of `pos`. */
  reach(pos: number): void {
    for (; this.rows <= pos; this.rows++) {
      ropeAngles(this.fcr, this.fci, this.rows, this.freq);
      this.put(this.rows, this.fcr, this.fci);
    }
  }
}
