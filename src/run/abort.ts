/*
 * Listening to AbortSignals. A signal gets one listener, however many requests share it; the last one removes it.
 */

const listeners = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Call `listener` when the signal is aborted.
 * @returns a function that stops listening
 */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (!signal) return () => {};
  const all = listeners.get(signal) ?? new Set();
  const callAll = () => {
    for (const each of [...all]) each();
  };
  if (all.size === 0) {
    listeners.set(signal, all);
    signal.addEventListener("abort", callAll, { once: true });
    stops.set(all, () => signal.removeEventListener("abort", callAll));
  }
  const mine = () => listener(); // one of its own, even if the same function listens twice
  all.add(mine);
  return () => {
    if (all.delete(mine) && all.size === 0) stops.get(all)?.();
  };
}

const stops = new WeakMap<Set<() => void>, () => void>();
