/*
 * llama2 study: a page on this machine that shows a transformer at work, line by line.
 */
import { spawn } from "node:child_process";
import { statSync } from "node:fs";
import { Llama2Error } from "../errors.ts";
import { BUNDLED, tokenizerPath } from "../trace/open.ts";
import { invocation, quote } from "./invocation.ts";
import { Interrupted, print } from "./io.ts";
import { withAdvice } from "./model.ts";
import { serveStudy } from "./studyServer.ts";

export interface StudyFlags {
  prompt?: string;
  port: number;
  open: boolean;
  tokenizer?: string;
}

/** Serve until Ctrl-C. @param place in the page: the part of its address after # */
export async function study(
  name: string | undefined,
  flags: StudyFlags,
  signal: AbortSignal,
  place = "",
): Promise<void> {
  const { model, tokenizer } = await withAdvice(name, signal, async (path = BUNDLED) => {
    return { model: path, tokenizer: await tokenizerOf(path, flags.tokenizer) };
  });
  const { server, url } = await serveStudy({ model, tokenizer, prompt: flags.prompt }, flags.port);
  const stopped = untilStopped(signal, () => server.closeAllConnections());
  const address = place === "" ? url : `${url}#${place}`;
  await print(`${address}\n`);
  if (flags.open) openInBrowser(address);
  await stopped;
  await new Promise((resolve) => server.close(resolve));
}

/** @throws Llama2Error E_USAGE for a model of several files */
async function tokenizerOf(model: string, named: string | undefined): Promise<string | undefined> {
  const path = await tokenizerPath(model, named);
  if (!statSync(model).isDirectory()) return path;
  const convert = `${invocation()} convert ${quote(model)} model.bin`;
  throw new Llama2Error(
    "E_USAGE",
    `the page reads a model that is one file, and ${model} is a folder. First: \`${convert}\``,
  );
}

/** Open the page in the desktop's browser. Without a desktop, nothing happens: the address has been printed. */
function openInBrowser(url: string): void {
  const commands: Partial<Record<NodeJS.Platform, string[]>> = {
    darwin: ["open", url],
    win32: ["cmd", "/c", "start", "", url.replaceAll("&", "^&")],
  };
  const [command, ...args] = commands[process.platform] ?? ["xdg-open", url];
  const child = spawn(command, args, { stdio: "ignore", detached: true });
  child.on("error", () => {});
  child.unref();
}

/** Resolves at Ctrl-C, which aborts the signal, or SIGTERM. A second signal ends the process. */
function untilStopped(signal: AbortSignal, onStop: () => void): Promise<void> {
  return new Promise((resolve) => {
    const stop = () => {
      onStop();
      resolve();
    };
    signal.addEventListener("abort", stop);
    process.once("SIGTERM", () => {
      stop();
      process.once("SIGTERM", () => process.exit(Interrupted.exitCode));
    });
  });
}
