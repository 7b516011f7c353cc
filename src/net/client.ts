/*
 * The HTTP client: it uses the proxy of the environment, checks redirects, and sends the secret to one host only. undici is
 * loaded at the first request, since that takes a tenth of a second.
 */
import type { EnvHttpProxyAgent } from "undici";
import { Llama2Error } from "../errors.ts";
import { discard, type Get, NetError, PATIENCE, type Patience, shown, unreachable, type Waiting } from "./answers.ts";

/** The longest wait that a server may ask for. */
const MAX_WAIT_MS = 60_000;
const MAX_REDIRECTS = 8;

export interface Client {
  get: Get;
  close(): void;
}

export interface ClientOptions extends Waiting {
  /** A token, sent only to the host of `secretFor`. */
  secret?: string | undefined;
  secretFor?: string | undefined;
}

/** @throws Llama2Error E_USAGE for an invalid proxy */
export async function httpClient(options: ClientOptions = {}): Promise<Client> {
  const { secret, secretFor, signal, patience = PATIENCE } = options;
  const { EnvHttpProxyAgent, fetch } = await import("undici");
  const agent = proxyAgent(EnvHttpProxyAgent, patience);
  const secretOrigin = secretFor === undefined ? undefined : new URL(secretFor).origin;

  const ask = async (url: URL, headers: Record<string, string>): Promise<Response> => {
    try {
      const init = { headers, redirect: "manual", dispatcher: agent, signal: signal ?? null } as const;
      return (await fetch(url, init)) as unknown as Response;
    } catch (error) {
      signal?.throwIfAborted();
      throw unreachable(url, error);
    }
  };

  const get: Get = async (from, headers = {}) => {
    let url = webUrl(from);
    let secretive = secret !== undefined;
    for (let redirects = 0; ; redirects++) {
      secretive &&= url.origin === secretOrigin; // after a redirect elsewhere it is not sent again, even back to its host
      // without compression, because ranges and length are those of the file itself
      const all = { ...headers, "accept-encoding": "identity", "user-agent": "llama2.ts" };
      const response = await ask(url, secretive ? { ...all, authorization: `Bearer ${secret}` } : all);
      const to = redirected(url, response);
      if (to === undefined) return accepted(url, response);
      discard(response);
      if (redirects === MAX_REDIRECTS) throw new NetError(`${shown(from)} leads from one URL to the next without end`);
      url = to;
    }
  };
  return { get, close: () => void agent.destroy().catch(() => {}) };
}

function proxyAgent(Agent: typeof EnvHttpProxyAgent, { connectMs, stallMs }: Patience): EnvHttpProxyAgent {
  const { env } = process;
  try {
    return new Agent({
      httpProxy: env.http_proxy || env.HTTP_PROXY || "",
      httpsProxy: env.https_proxy || env.HTTPS_PROXY || "",
      noProxy: env.no_proxy || env.NO_PROXY || "",
      connect: { timeout: connectMs },
      headersTimeout: stallMs,
      bodyTimeout: stallMs,
    });
  } catch {
    // its message would show the password in the URL
    throw new Llama2Error("E_USAGE", "the proxy in HTTPS_PROXY or HTTP_PROXY is not a URL such as http://proxy:3128");
  }
}

/**
 * The URL, if it is one of http or https.
 * @throws Llama2Error E_USAGE
 */
export function webUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new Llama2Error("E_USAGE", `${shown(text)} is not a URL of http or https`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new Llama2Error("E_USAGE", `${shown(text)} has a user or a password in it, which would be shown to others`);
  }
  return url;
}

/** The target of a redirect; undefined if it is not one. */
function redirected(url: URL, response: Response): URL | undefined {
  if (![301, 302, 303, 307, 308].includes(response.status)) return undefined;
  const location = response.headers.get("location") ?? "";
  discard(response);
  if (location === "" || !URL.canParse(location, url.href)) {
    throw new NetError(`${shown(url)} leads to no URL (${response.status})`);
  }
  const to = new URL(location, url.href);
  if (to.protocol !== "https:" && to.protocol !== url.protocol) {
    throw new NetError(`${shown(url)} leads to ${to.protocol}//${to.host}, which is not safe: refused`);
  }
  if (to.username !== "" || to.password !== "") throw new NetError(`${shown(url)} leads to a URL with a password`);
  return to;
}

/** @throws NetError for any answer but 200, 206 and 416 */
function accepted(url: URL, response: Response): Response {
  const { status, headers } = response;
  const refuse = (why: string, more: Partial<NetError> = {}) => {
    discard(response);
    return new NetError(`${shown(url)}: ${why}`, { status, ...more });
  };
  const encoding = headers.get("content-encoding");
  if (encoding !== null && encoding !== "identity" && encoding !== "") {
    throw refuse(`the server sends it compressed (${encoding.slice(0, 20)}), although it was asked not to`);
  }
  if (status === 200 || status === 206 || status === 416) return response;
  if (status === 401 || status === 403) throw refuse(`the server answers ${status}: ${forbidden(headers)}`);
  if (status === 404 || status === 410) throw refuse(`the server answers ${status}: there is nothing of that name`);
  const passing = status === 429 || status === 408 || status >= 500;
  throw refuse(`the server answers ${status}${status === 429 ? ": it was asked too often" : ""}`, {
    passing,
    retryAfterMs: passing ? waitOf(headers) : undefined,
  });
}

/** Hugging Face says more than the status does, in a header. */
function forbidden(headers: Headers): string {
  switch (headers.get("x-error-code")) {
    case "GatedRepo":
      return "its owner asks you to accept a licence on its page first, and then to send a token (HF_TOKEN)";
    case "RepoNotFound":
      return "there is no such repository, or it is private and needs a token (HF_TOKEN)";
    default:
      return "it may be read with a token only (HF_TOKEN), or not with this one";
  }
}

/** Retry-After, in seconds or as a date. */
function waitOf(headers: Headers): number | undefined {
  const text = headers.get("retry-after") ?? "";
  const ms = /^\d+$/.test(text) ? 1000 * Number(text) : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), MAX_WAIT_MS) : undefined;
}
