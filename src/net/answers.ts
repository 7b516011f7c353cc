/*
 * Shared by all code that talks to servers: timeouts, retries and errors. Needs nothing but JavaScript.
 */
import { Llama2Error } from "../errors.ts";

/** Timeouts and retries. */
export interface Patience {
  /** For a connection. */
  connectMs: number;
  /** For an answer, and between two pieces of it. */
  stallMs: number;
  /** An answer that brings less than `slowBytes` in this time counts as failed. */
  slowMs: number;
  slowBytes: number;
  /** How many times a request is tried if a retry may help. */
  tries: number;
  /** How long to wait before retry `n`, from 1, if the server does not say. */
  waitMs(n: number): number;
}

export const PATIENCE: Patience = {
  connectMs: 20_000,
  stallMs: 30_000,
  slowMs: 60_000,
  slowBytes: 64 * 1024,
  tries: 5,
  waitMs: (n) => 1000 * 2 ** (n - 1),
};

/** Options of everything that waits for a server. */
export interface Waiting {
  signal?: AbortSignal | undefined;
  patience?: Patience | undefined;
}

/** A request to a server that failed. */
export class NetError extends Llama2Error {
  /** Whether a retry may help. */
  readonly passing: boolean;
  readonly status: number | undefined;
  /** When to retry, as the server says. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, { passing = false, status, retryAfterMs }: Partial<NetError> = {}) {
    super("E_NET", message);
    this.passing = passing;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * Sends a GET request.
 * @throws NetError if there is no answer, or one other than 200, 206 (a part) or 416 (no such part); the signal's reason
 */
export type Get = (url: string, headers?: Record<string, string>) => Promise<Response>;

/** A URL for messages: without a password or a signature in it. */
export function shown(text: string | URL): string {
  if (!URL.canParse(String(text))) return JSON.stringify(String(text).slice(0, 80));
  const url = new URL(text);
  return `${url.protocol}//${url.host}${url.pathname}`;
}

/** Cancel a response that will not be read. */
export function discard(response: Response): void {
  response.body?.cancel().catch(() => {});
}

/** The error for a URL that cannot be reached. The reason is in the cause of fetch's error. */
export function unreachable(url: string | URL, error: unknown): NetError {
  const cause = (error as Error).cause ?? error;
  const { code = "", message } = cause as NodeJS.ErrnoException;
  const why = REASONS[code] ?? (message || code);
  const final = code === "ENOTFOUND" || /CERT|SSL|TLS|SELF_SIGNED|UNABLE_TO/.test(code);
  return new NetError(`cannot read ${shown(url)}: ${why}`, { passing: !final });
}

const REASONS: Record<string, string | undefined> = {
  ENOTFOUND: "its host is not known: is there a network?",
  EAI_AGAIN: "its host cannot be looked up: is there a network?",
  ECONNREFUSED: "no server answers at its host",
  ECONNRESET: "the connection was cut",
  UND_ERR_SOCKET: "the connection was cut",
  UND_ERR_CONNECT_TIMEOUT: "its host does not answer",
  UND_ERR_HEADERS_TIMEOUT: "the server stopped answering",
  UND_ERR_BODY_TIMEOUT: "the server stopped sending",
};

/**
 * Do `action`, with retries if they may help.
 * @param progress counts what has been done so far. As long as it grows, the number of retries starts again
 */
export async function retrying<T>(
  action: () => Promise<T>,
  { patience = PATIENCE, signal }: Waiting,
  progress: () => number = () => 0,
): Promise<T> {
  let failures = 0;
  for (let before = progress(); ; ) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof NetError) || !error.passing) throw error;
      if (progress() >= before + MUCH) failures = 0;
      before = Math.max(before, progress());
      failures++;
      if (failures >= patience.tries) throw error;
      await pause(error.retryAfterMs ?? patience.waitMs(failures), signal);
    }
  }
}

/** Progress in bytes after which the number of retries starts again. */
const MUCH = 2 ** 20;

/** @throws the signal's reason */
function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    if (signal?.aborted) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
  });
}
