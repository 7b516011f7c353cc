/*
 * What a model is called.
 */

/** How models' files end. */
const ENDING = /\.(bin|gguf|safetensors|pth?)$/;

/**
 * The name of a model by its path: its file's or folder's, without the ending; of a folder in Hugging Face's cache, which
 * is called by its commit, the repository's.
 */
export function modelName(path: string): string {
  const parts = path.split(/[/\\]/).filter((part) => part !== "");
  const name = parts.at(-1) ?? path;
  const repository = /^models--.+--(.+)$/.exec(parts.at(-3) ?? "")?.[1];
  return repository !== undefined && parts.at(-2) === "snapshots" && /^[0-9a-f]{40}$/.test(name)
    ? repository
    : name.replace(ENDING, "");
}
