/*
 * A server of the bundled model in this process, and requests to it.
 */
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { loadModel } from "../../src/loadModel.ts";
import type { Model } from "../../src/model.ts";
import { type ServeOptions, StoryServer } from "../../src/server/server.ts";

/** JSON of any shape. */
export type Parsed = ReturnType<typeof JSON.parse>;

export interface Answered {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  json: Parsed;
}

export class Serving {
  readonly model: Model;
  readonly server: StoryServer;

  private constructor(model: Model, server: StoryServer) {
    this.model = model;
    this.server = server;
  }

  static async start(options: ServeOptions = {}, model?: Model): Promise<Serving> {
    const loaded = model ?? (await loadModel());
    return new Serving(loaded, await StoryServer.listen([loaded], { port: 0, ...options }));
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Answered> {
    return this.send("GET", path, undefined, headers);
  }

  post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answered> {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    return this.send("POST", path, text, { "Content-Type": "application/json", ...headers });
  }

  /** With any headers, also those that fetch does not let one set. */
  send(method: string, path: string, body?: string, headers: Record<string, string> = {}): Promise<Answered> {
    return new Promise((resolve, reject) => {
      const request = httpRequest(`${this.server.url}${path}`, { method, headers }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk) => {
          text += chunk;
        });
        response.on("end", () => {
          const isJson = response.headers["content-type"] === "application/json";
          const json = isJson ? JSON.parse(text) : undefined;
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json });
        });
        response.on("error", reject);
      });
      request.on("error", reject);
      request.end(body);
    });
  }

  async end(): Promise<void> {
    await this.server.drain(0);
    await this.model.dispose();
  }
}

/** The objects of a stream of events, which ends with [DONE]. */
export function eventsOf(text: string): Parsed[] {
  const events = text.trimEnd().split("\n\n");
  if (events.pop() !== "data: [DONE]") throw new Error(`the stream has no end: ${text.slice(-200)}`);
  return events.map((event) => JSON.parse(event.replace(/^data: /, "")));
}
