/*
 * Advice for arguments that do not work.
 */
import { existsSync } from "node:fs";
import { basename } from "node:path";
import { nearest } from "../check.ts";
import { invocation, quote } from "./invocation.ts";

/**
 * Lines of advice for a model that does not exist: it may be a command with a typing error, a prompt without -i, or a
 * model that must be fetched.
 * @param commands the names of all commands
 * @param listed the models that can be pulled by name
 */
export function adviceForModel(path: string, commands: readonly string[], listed: readonly string[]): string[] {
  const here = invocation();
  if (isProse(path)) return [beginsWith(path)];
  return [
    ...didYouMean(path, [...commands, ...listed]),
    `  Without a model, llama2 tells a story with the one that comes with it: ${here}`,
    `  One of llama2.c's models: ${here} pull ${listed.find((name) => basename(path) === `${name}.bin`) ?? "stories15M"}`,
    `  All commands: ${here} help`,
  ];
}

/** The same for a model that has a name but has not been pulled. */
export function adviceToPull(name: string): string[] {
  const here = invocation();
  return [`  Fetch it: ${here} pull ${quote(name)}`, `  Models that are here: ${here} models`];
}

/** The same for several arguments, none of which is a command. */
export function adviceForArguments(args: readonly string[], commands: readonly string[]): string[] {
  if (args.some((arg) => existsSync(arg) || looksLikeFile(arg))) return didYouMean(args[0], commands);
  return [...didYouMean(args[0], commands), beginsWith(args.join(" "))];
}

/** The command that may be meant by `word`. */
export function didYouMean(word: string, commands: readonly string[]): string[] {
  const command = existsSync(word) ? undefined : nearest(word, commands);
  return command ? [`  Did you mean ${invocation()} ${command}?`] : [];
}

const beginsWith = (prompt: string) => `  A story that begins with these words: ${invocation()} -i ${quote(prompt)}`;

/** Whether `text` is more likely how a story begins than a file's name. */
const isProse = (text: string) => /\s/.test(text.trim()) && !looksLikeFile(text);

const looksLikeFile = (text: string) => /[/\\]|\.\w{1,11}$/.test(text);
