/*
 * Follows a value down its largest terms, to a weight, a token and a position. Runs in browsers.
 */
import { checkWhole } from "../check.ts";
import { f32 } from "../llama2/math.ts";
import { type Explanation, explain, type Ref, type Term } from "./explain.ts";
import { checkPlace, checkRun, type TracedRun } from "./run.ts";
import { placesOf, stopOf } from "./stops.ts";

/** A value with its terms, and the same again for the value behind the largest of them. */
export interface Why extends Explanation {
  /** Its terms, the largest first; for a norm or a softmax, the value that it scales. */
  largest: Term[];
  /** The value behind the first of them. */
  next?: Why;
}

/**
 * Follow a value through the largest term of each sum.
 * @param depth how many values to follow, this one included
 * @throws Llama2Error E_USAGE if there is no such value
 */
export function why(run: TracedRun, ref: Ref, depth: number): Why {
  checkRun(run);
  checkPlace(ref);
  checkWhole("depth", depth, 1, 2 ** 31 - 1);
  const explanation = isResidual(ref) ? written(run, ref) : explain(run, ref);
  const size = ({ value }: Term) => Math.abs(value);
  const largest = [...(explanation.carries ?? explanation.terms)].sort((a, b) => size(b) - size(a));
  const onward = largest[0] && leadsTo(largest[0]);
  return { ...explanation, largest, next: onward && depth > 1 ? why(run, onward, depth - 1) : undefined };
}

/** The value behind a term. If there are two, the one that is further back. */
export const leadsTo = ({ factors }: Term): Ref | undefined => factors.findLast(({ ref }) => ref)?.ref;

const isResidual = ({ id }: Ref) => id === "res1" || id === "res2";

/**
 * The residual stream as the sum of everything written to it: the embedding, and what each half of each layer added, in
 * this order. This is exact to the last bit as well, and saves a step for each half of a layer.
 */
export function written(run: TracedRun, ref: Ref): Explanation {
  const { nLayers } = run.transformer.config;
  const { pos, index } = ref;
  const terms: Term[] = [];
  for (const { id, layer } of placesOf(nLayers)) {
    if (id === "embed" || id === "proj" || id === "down") {
      const [tensor] = stopOf(id).tensors;
      const value = run.values(pos, { id, layer })[index];
      const name = id === "embed" ? `x[${index}] of the embedding` : `${tensor}[${index}] of L${layer}.${id}`;
      terms.push({ factors: [{ name, value, ref: { id, layer, pos, tensor, index } }], value });
    }
    if (id === ref.id && layer === ref.layer) break;
  }
  const value = run.values(pos, ref)[index];
  const sums = new Float32Array(terms.length);
  for (const [i, term] of terms.entries()) sums[i] = i === 0 ? term.value : f32(sums[i - 1] + term.value);
  const result = sums[sums.length - 1];
  return {
    ref,
    value,
    formula: `x[${index}] = embedding + all that was added up to ${ref.id} of layer ${ref.layer}`,
    terms,
    sums,
    result,
    exact: Object.is(result, value),
  };
}
