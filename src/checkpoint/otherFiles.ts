/*
 * Recognises files that are often mistaken for a model or a tokenizer, or that cannot be read here.
 */

/** The most bytes that `otherFile` looks at. */
export const HEAD_BYTES = 512;

/** The first bytes of a kind of file, as a byte string, and what it is. */
const STARTS: readonly (readonly [start: string, what: string])[] = [
  ["GGUF", "it is a GGUF file of llama.cpp, which is a model"],
  ["PK\x03\x04", "it is a zip file, such as PyTorch's checkpoints"],
  ["\x1f\x8b", "it is compressed with gzip. Unpack it first (gunzip)"],
  ["\x28\xb5\x2f\xfd", "it is compressed with zstd. Unpack it first (unzstd)"],
  ["\xfd7zXZ\0", "it is compressed with xz. Unpack it first (unxz)"],
  ["BZh", "it is compressed with bzip2. Unpack it first (bunzip2)"],
  ["7z\xbc\xaf\x27\x1c", "it is a 7z archive. Unpack it first"],
  ["Rar!\x1a\x07", "it is a RAR archive. Unpack it first"],
  ["lmgg", "it is an old file of llama.cpp (ggml). Convert the original to GGUF"],
  ["fmgg", "it is an old file of llama.cpp (ggmf). Convert the original to GGUF"],
  ["tjgg", "it is an old file of llama.cpp (ggjt). Convert the original to GGUF"],
  ["algg", "it is an old file of llama.cpp (a LoRA adapter), which is no model by itself"],
  [
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19",
    "PyTorch before 1.6 wrote it. Load and save it with a newer PyTorch",
  ],
  ["\x93NUMPY", "it is an array of NumPy"],
  ["\x89HDF\r\n", "it is an HDF5 file, such as Keras writes them"],
  ["%PDF", "it is a PDF document"],
  ["\x7fELF", "it is a program"],
];

/**
 * Describes a file by its first bytes, unless it may be a checkpoint of llama2.c or a tokenizer.bin, which can begin with
 * any numbers.
 * @param head the first HEAD_BYTES, or the whole file
 */
export function otherFile(head: Uint8Array): string | undefined {
  if (head.length === 0) return "it is empty";
  const text = String.fromCharCode(...head.subarray(0, HEAD_BYTES));
  if (text.startsWith("version https://git-lfs")) {
    return "it is a Git LFS pointer, which stands for the real file. `git lfs pull` fetches that";
  }
  if (/^\s*<(!doctype|html|head|\?xml)/i.test(text)) {
    return "it is an HTML page, probably what a download page answered in place of the file";
  }
  const known = STARTS.find(([start]) => text.startsWith(start));
  if (known) return known[1];
  // a pickle protocol, and then a usual first opcode. (A checkpoint's third byte is 0 unless dim is huge)
  if (head[0] === 0x80 && head[1] >= 2 && head[1] <= 5 && "\x95}](cX".includes(text[2])) {
    return "it is a pickle by itself. Save its tensors with torch.save of PyTorch 1.6 or later";
  }
  if (text.slice(257, 262) === "ustar") return "it is a tar archive. Unpack it first";
  if (text[8] === "{" && text[9] === '"') return "it is a safetensors file, which is a part of a model";
  return undefined;
}

/** Describes a file that was given as a model but is a tokenizer, or a JSON file that describes one of them. */
export function tokenizerLike(head: Uint8Array): string | undefined {
  const text = String.fromCharCode(...head.subarray(0, 64));
  if (/^\s*\{\s*["}]/.test(text))
    return "it is JSON, which describes a model or a tokenizer. Name the folder, or the weights";
  if (/^[A-Za-z0-9+/]+=* \d+\n/.test(text)) return "it is a tokenizer of Llama 3 (tiktoken)";
  if (text.startsWith("\n") && text.slice(0, 16).includes("<unk>"))
    return "it is a tokenizer (sentencepiece's tokenizer.model)";
  if (text.slice(12, 17) === "<unk>") return "it is a tokenizer (llama2.c's tokenizer.bin)";
  return undefined;
}
