/** What went wrong, for programs; the message says it for people. */
export type ErrorCode =
  | "E_USAGE" // an argument that makes no sense
  | "E_FILE" // a file that cannot be opened or read
  | "E_FORMAT" // a file that is not what it should be
  | "E_LIMIT" // a request that is too large
  | "E_CONTEXT" // more tokens than the context holds
  | "E_NET" // a server that cannot be reached, or does not answer as it should
  | "E_INTEGRITY" // bytes that are not those that they should be
  | "E_NUMERIC" // a model that computes NaN or infinity
  | "E_DEVICE_UNAVAILABLE" // a backend that cannot run here
  | "E_DEVICE_OOM" // more than the memory of the device holds
  | "E_DEVICE_LOST"; // a device that has failed, and does nothing more for this process

/** An option of `loadModel` with which it may work, and where that is known, the value to try. */
export interface Remedy {
  option: "context" | "threads" | "tokenizer" | "backend" | "precision";
  value?: number | string;
}

/** Every error this package throws on purpose. The message says what was found, what was expected, what to do. */
export class Llama2Error extends Error {
  override readonly name = "Llama2Error";
  readonly code: ErrorCode;
  readonly remedy: Remedy | undefined;

  constructor(code: ErrorCode, message: string, remedy?: Remedy) {
    super(message);
    this.code = code;
    this.remedy = remedy;
  }
}
