/*
 * The command llama2 in this process, for arguments that end it before it opens a model: dozens of them in the time that
 * one process takes.
 */
import { main } from "../../src/cli/program.ts";

export interface Answer {
  code: number;
  stdout: string;
  stderr: string;
}

const STREAMS = ["stdout", "stderr"] as const;

/** Call it with these arguments. One call at a time: the standard streams are replaced meanwhile. */
export async function answerTo(args: string[]): Promise<Answer> {
  const { argv } = process;
  const before = STREAMS.map((name) => ({ write: process[name].write, listeners: process[name].listeners("error") }));
  const said = { stdout: "", stderr: "" };
  process.argv = [...argv.slice(0, 2), ...args];
  for (const name of STREAMS) {
    process[name].write = (text: string | Uint8Array) => {
      said[name] += text;
      return true;
    };
  }
  try {
    const code = await main();
    return { code, ...said };
  } finally {
    process.argv = argv;
    for (const [i, name] of STREAMS.entries()) {
      process[name].write = before[i].write;
      for (const listener of process[name].listeners("error")) {
        if (!before[i].listeners.includes(listener)) process[name].off("error", listener as () => void);
      }
    }
  }
}
