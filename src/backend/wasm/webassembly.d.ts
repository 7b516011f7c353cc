/*
 * What the wasm backend uses of WebAssembly's own interface. TypeScript knows it as a part of the DOM only, which
 * is too much to declare for a program that mostly runs in Node.
 */
declare namespace WebAssembly {
  function compile(bytes: ArrayBuffer): Promise<Module>;
  class Module {
    constructor(bytes: Uint8Array);
  }
  class Instance {
    constructor(module: Module, imports: Record<string, Record<string, unknown>>);
    readonly exports: Record<string, unknown>;
  }
  class Memory {
    constructor(descriptor: { initial: number; maximum: number; shared: boolean });
    readonly buffer: ArrayBuffer;
    grow(pages: number): number;
  }
  interface Global {
    value: number;
  }
}
