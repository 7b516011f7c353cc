/*
 * The settings of Hugging Face's tools: the same environment variables for the cache and the server, so that all tools
 * share one copy.
 */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { Llama2Error } from "../errors.ts";

export interface Settings {
  /** The folder of all repositories. */
  cache: string;
  /** The URL of the server, without a slash at the end. */
  endpoint: string;
  /** Use no network, only what was fetched before. */
  offline: boolean;
}

/** Read the settings. @throws Llama2Error E_USAGE if HF_ENDPOINT is not a URL */
export function settingsOf(env: NodeJS.ProcessEnv = process.env): Settings {
  const cache = env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(homeOf(env), "hub");
  const endpoint = (env.HF_ENDPOINT || "https://huggingface.co").replace(/\/+$/, "");
  if (!/^https?:\/\//.test(endpoint) || !URL.canParse(endpoint)) {
    throw new Llama2Error("E_USAGE", `HF_ENDPOINT is ${JSON.stringify(endpoint.slice(0, 80))}, expected a URL`);
  }
  const offline = /^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE || env.TRANSFORMERS_OFFLINE || "");
  return { cache: expanded(cache), endpoint, offline };
}

/** The error for `what`, which cannot be done offline. */
export const offlineError = (what: string): Llama2Error =>
  new Llama2Error("E_NET", `${what}, and nothing is fetched: HF_HUB_OFFLINE is set`);

/**
 * The token that the user has for the server: HF_TOKEN, or what `hf auth login` wrote.
 * @throws Llama2Error E_USAGE if it has characters that no token has; the message does not show it
 */
export function tokenOf(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const named = env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN || "";
  const token = (named || readText(env.HF_TOKEN_PATH || join(homeOf(env), "token")))?.trim();
  if (token === undefined || token === "") return undefined;
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  const place = named !== "" ? "HF_TOKEN" : "the file with Hugging Face's token";
  throw new Llama2Error("E_USAGE", `${place} has characters in it that no token has`);
}

const homeOf = (env: NodeJS.ProcessEnv): string =>
  expanded(env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface"));

const expanded = (path: string) => path.replace(/^~(?=$|[/\\])/, () => homedir());

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // not logged in
  }
}
