/*
 * Progress of loading a model.
 */
import { counted } from "../checkpoint/counted.ts";
import { tensorsOf, type WeightSource } from "../llama2/weights.ts";

/** How many reports there are. */
const STEPS = 100;

/**
 * The same weights.
 * @param report called as they are read: how many numbers have been read, and of how many
 */
export function withProgress(source: WeightSource, report: (done: number, of: number) => void): WeightSource {
  const of = tensorsOf(source).reduce((sum, { layers, d, n }) => sum + layers * d * n, 0);
  let done = 0;
  let next = 0; // when it is reported again
  return counted(source, (numbers) => {
    done += numbers;
    if (done < next) return;
    report(Math.min(done, of), of); // a backend may read a tensor twice, such as a shared classifier
    next = done + of / STEPS;
  });
}
