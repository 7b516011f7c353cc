/*
 * Finds the chat template that comes with a model: a Jinja program that writes a conversation as the text that the model
 * was trained on. src/chatTemplate.ts runs it.
 */
import { Llama2Error } from "../../errors.ts";
import { type ByteSource, bytesText, type Files, readBytes } from "../../files/bytes.ts";
import { openGguf } from "../gguf.ts";
import { decodeUtf8, isJsonObject, parseJsonObject } from "../json.ts";

/** Where a template was found, and its source. */
export interface FoundTemplate {
  path: string;
  source: string;
}

/** The longest known has 20 KB; tokenizer_config.json may list tokens as well. */
const MAX_BYTES = 1 << 22;

/**
 * Hugging Face's chat_template.jinja or tokenizer_config.json in the model's folder, or the template inside a GGUF.
 * Undefined if there is none.
 * @throws Llama2Error E_FILE, E_FORMAT, E_LIMIT
 */
export async function findChatTemplate(files: Files): Promise<FoundTemplate | undefined> {
  const isFolder = files.folder === undefined;
  const names = await files.list();
  const gguf = names.length === 1 && names[0].endsWith(".gguf") ? names[0] : undefined;
  if (gguf !== undefined) return reading(files, gguf, insideGguf);
  const folder = isFolder ? files : (files.folder as Files);
  const all = isFolder ? names : await folder.list();
  if (!all.includes("config.json")) return undefined;
  if (all.includes("chat_template.jinja")) return reading(folder, "chat_template.jinja", (file) => text(file));
  if (!all.includes("tokenizer_config.json")) return undefined;
  return reading(folder, "tokenizer_config.json", insideConfig);
}

async function reading(
  files: Files,
  name: string,
  read: (file: ByteSource) => Promise<string | undefined>,
): Promise<FoundTemplate | undefined> {
  const file = await files.open(name);
  try {
    const source = await read(file);
    return source === undefined ? undefined : { path: file.name, source };
  } finally {
    file.close();
  }
}

async function insideGguf(file: ByteSource): Promise<string | undefined> {
  const magic = file.size >= 4 ? await readBytes(file, 0, 4) : new Uint8Array();
  if (String.fromCharCode(...magic) !== "GGUF") return undefined;
  const template = (await openGguf(file)).values.get("tokenizer.chat_template");
  return typeof template === "string" ? template : undefined;
}

/** A string, or a list of named templates: then the one named "default". */
async function insideConfig(file: ByteSource): Promise<string | undefined> {
  const { chat_template: found } = parseJsonObject(await bytesOf(file), file.name);
  if (found === undefined || found === null || typeof found === "string") return found ?? undefined;
  const list = Array.isArray(found) ? found.filter(isJsonObject) : [];
  const chosen = list.find(({ name }) => name === "default")?.template;
  if (typeof chosen === "string") return chosen;
  throw new Llama2Error("E_FORMAT", `${file.name} has a chat_template that is no text, and no list with a "default"`);
}

async function text(file: ByteSource): Promise<string> {
  const source = decodeUtf8(await bytesOf(file));
  if (source === undefined) throw new Llama2Error("E_FORMAT", `${file.name} is not UTF-8`);
  return source;
}

async function bytesOf(file: ByteSource): Promise<Uint8Array> {
  if (file.size <= MAX_BYTES) return readBytes(file, 0, file.size);
  const message = `${file.name} has ${bytesText(file.size)}, expected at most ${bytesText(MAX_BYTES)}`;
  throw new Llama2Error("E_LIMIT", message);
}
