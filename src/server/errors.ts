/*
 * Errors of a request, in the form of OpenAI's API.
 */
import { Llama2Error } from "../errors.ts";

/** An error that is sent to the client, with its HTTP status. */
export class HttpError extends Error {
  readonly status: number;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | null;
  readonly headers: Record<string, string>;

  constructor(
    status: number,
    message: string,
    {
      param = null,
      code = null,
      headers = {},
    }: { param?: string | null; code?: string | null; headers?: Record<string, string> } = {},
  ) {
    super(message);
    this.status = status;
    this.type = TYPES[status] ?? (status < 500 ? "invalid_request_error" : "server_error");
    this.param = param;
    this.code = code;
    this.headers = headers;
  }

  get body(): string {
    const { message, type, param, code } = this;
    return JSON.stringify({ error: { message, type, param, code } });
  }
}

const TYPES: Record<number, string> = { 401: "authentication_error", 403: "permission_error", 404: "not_found_error" };

/** Refuse the value of a field. @throws HttpError 400 */
export function badValue(param: string, message: string): never {
  throw new HttpError(400, message, { param, code: "invalid_value" });
}

/** Any error as an HttpError: 500 where it is not the client's fault. */
export function asHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  if (!(error instanceof Llama2Error)) return new HttpError(500, "something went wrong within the server");
  switch (error.code) {
    case "E_USAGE":
      return new HttpError(400, error.message, { code: error.code });
    case "E_CONTEXT":
      return new HttpError(400, error.message, { code: "context_length_exceeded" });
    default:
      return new HttpError(500, error.message, { code: error.code });
  }
}
