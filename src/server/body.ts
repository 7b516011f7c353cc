/*
 * The bodies of requests: JSON, field by field.
 */
import type { IncomingMessage } from "node:http";
import { nearest, show } from "../check.ts";
import { badValue, HttpError } from "./errors.ts";

const MAX_BODY = 1 << 20; // bytes

export type Json = Record<string, unknown>;

/**
 * Read the body of a request, a JSON object.
 * @throws HttpError 415 if it is not declared as JSON, 413 beyond a mebibyte, 400 if it is not a JSON object
 */
export async function readBody(request: IncomingMessage): Promise<Json> {
  const type = (request.headers["content-type"] ?? "").split(";")[0].trim().toLowerCase();
  if (type !== "application/json") throw new HttpError(415, "expected a body with Content-Type: application/json");
  const tooLarge = new HttpError(413, `the body is larger than ${MAX_BODY} bytes`);
  if (Number(request.headers["content-length"] ?? 0) > MAX_BODY) throw tooLarge;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY) throw tooLarge;
    chunks.push(chunk);
  }
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString());
  } catch (error) {
    throw new HttpError(400, `the body is not JSON: ${(error as Error).message.slice(0, 100)}`);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw new HttpError(400, `the body is ${show(value)}, expected an object`);
}

/** The fields of a body. It remembers which were read, so that unknown ones can be refused. */
export class Fields {
  private readonly body: Json;
  private readonly seen = new Set<string>();

  constructor(body: Json) {
    this.body = body;
  }

  /** A field; undefined if it is absent or null, which mean the same to OpenAI's clients. */
  get(name: string): unknown {
    this.seen.add(name);
    const value = Object.hasOwn(this.body, name) ? this.body[name] : undefined;
    return value === null ? undefined : value;
  }

  number(name: string, byDefault: number, min: number, max: number): number {
    const value = this.get(name) ?? byDefault;
    if (typeof value === "number" && value >= min && value <= max) return value;
    badValue(name, `${name} is ${show(value)}, expected a number from ${min} to ${max}`);
  }

  whole(name: string, min: number, max: number): number | undefined {
    const value = this.get(name);
    if (value === undefined || (Number.isInteger(value) && (value as number) >= min && (value as number) <= max)) {
      return value as number | undefined;
    }
    badValue(name, `${name} is ${show(value)}, expected a whole number from ${min} to ${max}`);
  }

  boolean(name: string): boolean {
    const value = this.get(name) ?? false;
    if (typeof value === "boolean") return value;
    badValue(name, `${name} is ${show(value)}, expected true or false`);
  }

  text(name: string): string | undefined {
    const value = this.get(name);
    if (value === undefined || typeof value === "string") return value;
    badValue(name, `${name} is ${show(value)}, expected text`);
  }

  /** One text or several, as an array. */
  texts(name: string): string[] {
    const value = this.get(name) ?? [];
    const all = typeof value === "string" ? [value] : value;
    if (Array.isArray(all) && all.length <= 16 && all.every((each) => typeof each === "string" && each !== ""))
      return all;
    badValue(name, `${name} is ${show(value)}, expected a text, or up to 16, none of them empty`);
  }

  object(name: string): Json {
    const value = this.get(name) ?? {};
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
    badValue(name, `${name} is ${show(value)}, expected an object`);
  }

  /** A field of OpenAI's that is not supported: only the value that changes nothing is accepted. */
  without(name: string, ...harmless: unknown[]): void {
    const value = this.get(name);
    const empty = typeof value === "object" && value !== null && Object.keys(value).length === 0;
    if (value === undefined || empty || harmless.includes(value)) return;
    throw new HttpError(400, `${name} is not supported`, { param: name, code: "unsupported_parameter" });
  }

  /** @throws HttpError 400 for a field that was not read and is not in `ignored` */
  end(ignored: readonly string[]): void {
    for (const name of Object.keys(this.body)) {
      if (this.seen.has(name) || ignored.includes(name)) continue;
      const meant = nearest(name, [...this.seen]);
      const message = `there is no parameter ${show(name)}${meant ? `. Is "${meant}" meant?` : ""}`;
      throw new HttpError(400, message, { param: name.slice(0, 100), code: "unknown_parameter" });
    }
  }
}
