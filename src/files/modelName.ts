/*
 * Names of models.
 */

/** The endings of model files. */
const ENDING = /\.(bin|gguf|safetensors|pth?)$/;

/**
 * The name of the model at a path: the file's or folder's name without its ending. A folder in Hugging Face's cache is
 * named by its commit, so there it is the repository's name.
 */
export function modelName(path: string): string {
  const parts = path.split(/[/\\]/).filter((part) => part !== "");
  const name = parts.at(-1) ?? path;
  const repository = /^models--.+--(.+)$/.exec(parts.at(-3) ?? "")?.[1];
  return repository !== undefined && parts.at(-2) === "snapshots" && /^[0-9a-f]{40}$/.test(name)
    ? repository
    : name.replace(ENDING, "");
}
