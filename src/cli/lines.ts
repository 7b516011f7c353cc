/*
 * Reads standard input line by line, as bytes, since not all of it may be UTF-8.
 */
import { createInterface } from "node:readline";
import { withoutMark } from "../files/text.ts";
import { bytesOf } from "../text.ts";
import { interruptible, print, STDIN } from "./io.ts";

export class Lines {
  private readonly input = createInterface({ input: process.stdin.setEncoding("latin1") });
  private readonly lines = this.input[Symbol.asyncIterator]();
  private atStart = true;

  /**
   * Ask for a line. Undefined at the end of the input.
   * @throws Interrupted if Ctrl-C comes instead
   */
  async ask(guide: string): Promise<Uint8Array | undefined> {
    const { value, done } = await interruptible(async (signal) => {
      await print(guide); // from now on the user may press Ctrl-C
      signal.throwIfAborted();
      const interrupted = new Promise<never>((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      });
      return Promise.race([this.lines.next(), interrupted]);
    });
    if (done && guide !== "") await print("\n");
    if (done) return undefined;
    const line = bytesOf(value);
    if (!this.atStart) return line;
    this.atStart = false;
    return withoutMark(line, STDIN);
  }

  close(): void {
    this.input.close();
  }
}
