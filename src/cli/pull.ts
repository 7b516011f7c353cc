/*
 * llama2 pull: fetching a model.
 */
import { type Pulled, pull as pullModel } from "../pull/pull.ts";
import { endProgress, print, showProgress, tell } from "./io.ts";

export interface PullFlags {
  json?: boolean;
}

/** Fetch a model and print where it is: a path, or one JSON object. */
export async function pull(name: string, flags: PullFlags, signal: AbortSignal): Promise<void> {
  const pulled = await pullWithProgress(name, signal);
  await print(flags.json ? `${JSON.stringify(pulled)}\n` : `${pulled.path}\n`);
}

/** Fetch a model, and show the progress on a terminal. */
export async function pullWithProgress(name: string, signal: AbortSignal): Promise<Pulled> {
  const start = performance.now();
  let shown = 0;
  const onProgress = ({ name, done, total, downloaded }: Parameters<NonNullable<Options["onProgress"]>>[0]) => {
    const now = performance.now();
    if (now - shown < REDRAW_MS) return;
    shown = now;
    const seconds = ((now - start) / 1000 / downloaded) * (total - done);
    showProgress(`${name}: ${Math.floor((100 * done) / total)} % of ${megabytes(total)}, ${timeText(seconds)} left`);
  };
  try {
    const pulled = await pullModel(name, { signal, onProgress });
    endProgress();
    const { downloadedBytes } = pulled;
    tell(downloadedBytes === 0 ? `${name} is here already` : `${name}: ${megabytes(downloadedBytes)} fetched`);
    return pulled;
  } catch (error) {
    endProgress();
    throw error;
  }
}

type Options = NonNullable<Parameters<typeof pullModel>[1]>;

const REDRAW_MS = 100;

/** 60816028 -> "60.8 MB" */
export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

const timeText = (seconds: number) => (seconds < 100 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`);
