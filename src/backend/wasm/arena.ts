/*
 * Allocates contexts in a WebAssembly memory that grows, after the model.
 */
import { Llama2Error } from "../../errors.ts";
import { MAX_BYTES, PAGE } from "./kernels.ts";

interface Block {
  start: number;
  end: number;
}

export class Arena {
  private readonly memory: WebAssembly.Memory;
  private readonly base: number;
  private readonly blocks: Block[] = []; // in order

  constructor(memory: WebAssembly.Memory, base: number) {
    this.memory = memory;
    this.base = base;
  }

  /**
   * The address of the first gap that is large enough. The memory grows when needed.
   * @throws Llama2Error E_LIMIT if it cannot
   */
  allocate(bytes: number): number {
    let start = this.base;
    let i = 0;
    while (i < this.blocks.length && this.blocks[i].start - start < bytes) start = this.blocks[i++].end;
    this.reach(start + bytes);
    this.blocks.splice(i, 0, { start, end: start + bytes });
    return start;
  }

  free(start: number): void {
    const i = this.blocks.findIndex((block) => block.start === start);
    if (i >= 0) this.blocks.splice(i, 1);
  }

  private reach(end: number): void {
    const missing = Math.ceil((end - this.memory.buffer.byteLength) / PAGE);
    if (missing <= 0) return;
    try {
      if (end > MAX_BYTES) throw new RangeError("WebAssembly addresses no more than 4 GiB");
      this.memory.grow(missing);
    } catch (error) {
      throw new Llama2Error(
        "E_LIMIT",
        `there is no room for another context: with it the memory would have ${end} bytes (${(error as Error).message}). Read fewer sequences at once, or cap the context`,
        { option: "context" },
      );
    }
  }
}
