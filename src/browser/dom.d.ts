/*
 * The parts of the DOM that this folder uses. TypeScript's DOM library would declare far too much for a program that mostly
 * runs in Node.
 */
declare class Worker {
  constructor(url: URL, options: { type: "module" });
  postMessage(message: unknown, transfer?: ArrayBuffer[]): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  addEventListener(type: "error", listener: (event: { message?: string; preventDefault(): void }) => void): void;
  terminate(): void;
}

/** In a page or a worker. */
declare const location: { readonly href: string };

/** In a worker. */
declare const self: {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  close(): void;
};
