/*
 * Recognises the files of models by their names.
 */

/** Names of the weights in a model's folder, by form, best first. All files of one form belong together. */
export const FOLDER_FORMS: readonly RegExp[] = [
  /^model(-\d{5}-of-\d{5})?\.safetensors$/,
  /^pytorch_model(-\d{5}-of-\d{5})?\.bin$/,
  /^consolidated\.\d\d\.pth$/,
];

/** The forms of single files that are models by themselves, best first. */
export const FILE_FORMS: readonly RegExp[] = [
  /\.gguf$/i,
  /^(?!tok|pytorch_model|optimizer|training_args).*\.bin$/,
  /\.pt$/,
];

/** Files that are fetched with the weights. (Some are only for Python's tools, which share the copy.) */
const COMPANION =
  /^(config|generation_config|params|tokenizer|tokenizer_config|special_tokens_map|(model\.safetensors|pytorch_model\.bin)\.index)\.json$|^tok\w*\.(model|bin)$/;

/** The last part of a path with slashes. */
export const baseOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

export const isOfFolder = (path: string): boolean => FOLDER_FORMS.some((form) => form.test(path));
export const isModelFile = (path: string): boolean => FILE_FORMS.some((form) => form.test(baseOf(path)));
export const isCompanion = (path: string): boolean => COMPANION.test(baseOf(path));
