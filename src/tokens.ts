/*
 * Loading a tokenizer without a model, where there are files: in Node.
 */
import { join } from "node:path";
import { PACKAGE_MODELS, readAnyTokenizer } from "./checkpoint/tokenizer/find.ts";
import { pathOf } from "./files/path.ts";
import { TextTokenizer } from "./textTokenizer.ts";

/** The tokenizer of the model that comes with the package. */
const BUNDLED_TOKENIZER = join(PACKAGE_MODELS, "tok2048.bin");

/**
 * Load a tokenizer file.
 * @param path of it, or a `file:` URL. Default: that of the model that comes with the package
 * @throws Llama2Error E_USAGE, E_FILE, E_FORMAT
 */
export async function loadTokenizer(path: string | URL = BUNDLED_TOKENIZER): Promise<TextTokenizer> {
  return new TextTokenizer(await readAnyTokenizer(pathOf("the tokenizer", path)));
}
