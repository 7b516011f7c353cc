/*
 * What this folder uses of a page and its workers. TypeScript knows it as a part of the DOM only, which is too much to
 * declare for a program that mostly runs in Node.
 */
declare class Worker {
  constructor(url: URL, options: { type: "module" });
  postMessage(message: unknown): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  addEventListener(type: "error", listener: (event: { message?: string; preventDefault(): void }) => void): void;
  terminate(): void;
}

/** Of a page or a worker. */
declare const location: { readonly href: string };

/** Of a worker. */
declare const self: {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  close(): void;
};
