/*
 * How far a model is loaded: which share of its weights has been handed over.
 */
import { counted } from "../checkpoint/counted.ts";
import { tensorsOf, type WeightSource } from "../llama2/weights.ts";

/** How often it is told. */
const STEPS = 100;

/**
 * The same weights.
 * @param tell is called as they are read: how many numbers have been, and of how many
 */
export function withProgress(source: WeightSource, tell: (done: number, of: number) => void): WeightSource {
  const of = tensorsOf(source).reduce((sum, { layers, d, n }) => sum + layers * d * n, 0);
  let done = 0;
  let next = 0; // when it is told again
  return counted(source, (numbers) => {
    done += numbers;
    if (done < next) return;
    tell(Math.min(done, of), of); // a backend may read a tensor twice, such as a shared classifier
    next = done + of / STEPS;
  });
}
