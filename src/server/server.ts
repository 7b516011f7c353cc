/*
 * llama2 serve: an HTTP server that OpenAI's clients can talk to.
 *
 * It is meant for this machine: it listens on the loopback address. Pages of other sites can send requests there, or
 * have their name point there (DNS rebinding): their Origin and Host give them away. Any other address needs a key.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { checkOptions, checkWhole, show, usage } from "../check.ts";
import { Llama2Error } from "../errors.ts";
import type { Model } from "../model.ts";
import { onAbort } from "../run/abort.ts";
import { Admission } from "./admission.ts";
import { readBody } from "./body.ts";
import { chatJob, completionJob, type Job } from "./completions.ts";
import { asHttpError, HttpError } from "./errors.ts";
import { Models } from "./models.ts";
import { pageFile } from "./page.ts";

export interface ServeOptions {
  /** @default "127.0.0.1" */
  host?: string;
  /** 0: any free port. @default 8080 */
  port?: number;
  /** What clients must send as a bearer token. Needed for every host but the loopback addresses. */
  apiKey?: string;
  /** How many sequences run at once. @default 64 */
  slots?: number;
  /** How many requests may wait for a slot; further ones are answered with 503. @default 32 */
  queue?: number;
}

const OPTIONS: readonly (keyof ServeOptions)[] = ["host", "port", "apiKey", "slots", "queue"];

/** The host names that a server without a key answers to. */
const LOCAL = ["localhost", "127.0.0.1", "[::1]"];
const isLoopback = (host: string) => ["localhost", "127.0.0.1", "::1", "[::1]"].includes(host);

/** Content security policy: the page may load its own files and talk to this server, nothing else. */
const CONTENT_SECURITY_POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; " +
  "img-src 'self' blob: data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/** @throws Llama2Error E_USAGE for an invalid option, or for an address that other machines reach without a key */
export function checkServeOptions(options: ServeOptions): void {
  checkOptions("serve", options, OPTIONS);
  const { host = "127.0.0.1", port = 8080, apiKey, slots = 64, queue = 32 } = options;
  if (typeof host !== "string" || host === "") usage(`host is ${show(host)}, expected a name or an address`);
  checkWhole("port", port, 0, 65_535);
  checkWhole("slots", slots, 1, 10_000);
  checkWhole("queue", queue, 0, 100_000);
  if (apiKey !== undefined && (typeof apiKey !== "string" || apiKey === "")) {
    usage(`apiKey is ${typeof apiKey === "string" ? "empty" : show(apiKey)}, expected text`);
  }
  if (apiKey !== undefined || isLoopback(host)) return;
  usage(
    `${host} can be reached from other machines, so clients need a key: the option api-key, or LLAMA2_API_KEY in the environment`,
  );
}

/** A running server. */
export class StoryServer {
  /** Its address, such as "http://127.0.0.1:8080". */
  readonly url: string;
  private readonly http: Server;
  private readonly models: Models;
  private readonly admission: Admission;
  private readonly key: Buffer | undefined;
  private readonly cancel = new AbortController();
  private draining = false;
  private busy = 0; // requests that have arrived and are not answered in full yet

  /**
   * @param models with distinct names. Closing them remains the caller's job
   * @throws Llama2Error E_USAGE; E_FILE if the port is taken
   */
  static async listen(models: readonly Model[], options: ServeOptions = {}): Promise<StoryServer> {
    checkServeOptions(options);
    const served = await Models.of(models);
    const { host = "127.0.0.1", port = 8080 } = options;
    const http = createServer({ requestTimeout: 60_000, headersTimeout: 20_000 });
    await new Promise<void>((resolve, reject) => {
      http.once("error", (error: NodeJS.ErrnoException) => reject(whyNotListening(error, host, port)));
      http.listen(port, host.replace(/^\[|\]$/g, ""), resolve);
    });
    return new StoryServer(http, served, options);
  }

  private constructor(
    http: Server,
    models: Models,
    { host = "127.0.0.1", apiKey, slots = 64, queue = 32 }: ServeOptions,
  ) {
    const { port } = http.address() as AddressInfo;
    this.url = `http://${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}:${port}`;
    this.http = http;
    this.models = models;
    this.admission = new Admission(slots, queue);
    this.key = apiKey === undefined ? undefined : digest(apiKey);
    http.on("request", (request, response) => this.answer(request, response));
  }

  /**
   * Accept no more requests, finish those in progress, and close.
   * @param limitMs after this many milliseconds, what still runs is cut off
   */
  async drain(limitMs = 10_000): Promise<void> {
    this.draining = true;
    const closed = new Promise((resolve) => this.http.close(resolve));
    this.endConnections();
    const timer = setTimeout(() => {
      this.cancel.abort(new HttpError(503, "the server ends"));
      this.http.closeAllConnections();
    }, limitMs);
    await closed;
    clearTimeout(timer);
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.busy++;
    const gone = new AbortController();
    const leave = () => gone.abort(this.cancel.signal.reason ?? new Error("the client has left"));
    const stopListening = onAbort(this.cancel.signal, leave);
    response.on("close", () => {
      stopListening();
      leave();
      this.busy--;
      if (this.draining) this.endConnections();
    });
    if (this.draining) response.setHeader("Connection", "close");
    response.setHeader("X-Content-Type-Options", "nosniff");
    try {
      await this.route(request, response, gone.signal);
    } catch (error) {
      const answer = asHttpError(error);
      if (answer.status === 500 && !gone.signal.aborted && !(error instanceof Llama2Error)) console.error(error);
      if (!response.headersSent) {
        for (const [name, value] of Object.entries(answer.headers)) response.setHeader(name, value);
        // do not wait for the rest of a body that is too large
        if (answer.status === 413) response.setHeader("Connection", "close");
        response.writeHead(answer.status, { "Content-Type": "application/json" });
        response.end(answer.body);
      } else {
        response.end();
      }
    }
  }

  /** Close idle connections; once no request is in progress, also those with an incomplete one. */
  private endConnections(): void {
    if (this.busy === 0) this.http.closeAllConnections();
    else this.http.closeIdleConnections();
  }

  private async route(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    this.checkOrigin(request);
    const pathname = pathOf(request.url ?? "/");
    if (pathname === "/health") return sendJson(allow(request, response, "GET"), this.health());
    const file = pageFile(pathname);
    if (file) return sendFile(allow(request, response, "GET"), file);
    if (pathname.startsWith("/v1/")) this.checkKey(request);
    const [, id] = /^\/v1\/models\/(.+)$/.exec(pathname) ?? [];
    if (id !== undefined) return sendJson(allow(request, response, "GET"), this.models.describe(id));
    switch (pathname) {
      case "/v1/models":
        return sendJson(allow(request, response, "GET"), this.models.list);
      case "/v1/completions":
        allow(request, response, "POST");
        return this.run(completionJob(this.models, await readBody(request)), response, signal);
      case "/v1/chat/completions":
        allow(request, response, "POST");
        return this.run(await chatJob(this.models, await readBody(request)), response, signal);
      default:
        throw new HttpError(404, `there is no ${pathname.slice(0, 100)} here`, { code: "not_found" });
    }
  }

  private async run(job: Job, response: ServerResponse, signal: AbortSignal): Promise<void> {
    if (this.draining) throw new HttpError(503, "the server is about to end", { headers: { "Retry-After": "10" } });
    const leave = await this.admission.enter(job.sequences, signal);
    try {
      const answer = await job.begin(signal);
      if (job.asked.stream) await answer.stream(response);
      else await answer.send(response);
    } finally {
      leave();
    }
  }

  private health() {
    const { running, waiting } = this.admission;
    const models = this.models.all.map(({ id }) => id);
    return { status: this.draining ? "draining" : "ok", models, running, waiting };
  }

  /** @throws HttpError 403 for a Host that is not this server's, and for pages of other sites */
  private checkOrigin({ headers }: IncomingMessage): void {
    const host = headers.host ?? "";
    const name = host.replace(/:\d+$/, "").toLowerCase();
    if (!this.key && !LOCAL.includes(name)) {
      throw new HttpError(403, `the Host is ${show(host)}, expected ${LOCAL.join(", ")}`, { code: "foreign_host" });
    }
    const { origin } = headers;
    if (origin === undefined || origin === `http://${host}` || origin === `https://${host}`) return;
    throw new HttpError(403, `the Origin is ${show(origin)}, and this server answers its own page only`, {
      code: "foreign_origin",
    });
  }

  /** @throws HttpError 401 */
  private checkKey({ headers }: IncomingMessage): void {
    if (!this.key) return;
    const [, given] = /^Bearer (.+)$/i.exec(headers.authorization ?? "") ?? [];
    if (given !== undefined && timingSafeEqual(digest(given), this.key)) return;
    throw new HttpError(401, "this server needs its key: Authorization: Bearer KEY", {
      code: "invalid_api_key",
      headers: { "WWW-Authenticate": "Bearer" },
    });
  }
}

/** @throws HttpError 400 if it is not a valid path */
function pathOf(url: string): string {
  try {
    return decodeURIComponent(new URL(url, "http://localhost").pathname);
  } catch {
    throw new HttpError(400, `${show(url)} is no path`);
  }
}

/** @throws HttpError 405 for any other method */
function allow(request: IncomingMessage, response: ServerResponse, method: "GET" | "POST"): ServerResponse {
  if (request.method === method || (method === "GET" && request.method === "HEAD")) return response;
  const message = `the method is ${request.method}, expected ${method}`;
  throw new HttpError(405, message, { code: "method_not_allowed", headers: { Allow: method } });
}

function sendJson(response: ServerResponse, body: object): void {
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify(body));
}

function sendFile(response: ServerResponse, { type, bytes }: { type: string; bytes: Uint8Array }): void {
  response.setHeader("Content-Type", type);
  response.setHeader("Content-Security-Policy", CONTENT_SECURITY_POLICY);
  response.setHeader("Referrer-Policy", "no-referrer");
  response.end(bytes);
}

/** Hashed, so that keys of any length can be compared in constant time. */
const digest = (key: string) => createHash("sha256").update(key).digest();

function whyNotListening({ code, message }: NodeJS.ErrnoException, host: string, port: number): Llama2Error {
  const why: Record<string, string> = {
    EADDRINUSE: "the port is taken",
    EACCES: "this port is not allowed",
    EADDRNOTAVAIL: "this machine has no such address",
    ENOTFOUND: "there is no such host",
  };
  return new Llama2Error("E_FILE", `cannot listen on ${host} port ${port}: ${why[code ?? ""] ?? message}`);
}
