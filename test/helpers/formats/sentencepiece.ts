/*
 * sentencepiece models and tokenizer.json files, made by the tests.
 */

export interface PieceToWrite {
  text: string;
  score?: number;
  type?: number;
}

export type Field = readonly [field: number, value: number | string | Uint8Array | { float: number }];

/** The bytes of a protobuf message: numbers as varints, texts and bytes with their length. */
export function message(fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.map(([field, value]) => {
      if (typeof value === "number") return Buffer.concat([varint(field * 8), varint(value)]);
      if (typeof value === "object" && "float" in value) {
        const bytes = Buffer.alloc(4);
        bytes.writeFloatLE(value.float);
        return Buffer.concat([varint(field * 8 + 5), bytes]);
      }
      const bytes = Buffer.from(value as string);
      return Buffer.concat([varint(field * 8 + 2), varint(bytes.length), bytes]);
    }),
  );
}

export function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
}

/** Unknown, BOS, EOS and the bytes. */
export const SPECIAL: PieceToWrite[] = [
  { text: "<unk>", type: 2 },
  { text: "<s>", type: 3 },
  { text: "</s>", type: 3 },
  ...Array.from({ length: 256 }, (_, byte) => ({
    text: `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
    type: 6,
  })),
];

/** A model of byte pair encoding. The normalizer is Llama's by default. */
export function sentencePieceBytes(
  pieces: readonly PieceToWrite[],
  normalizer: readonly Field[] = [[4, 0]],
  trainer: readonly Field[] = [],
): Buffer {
  const fields: Field[] = pieces.map(({ text, score = 0, type = 1 }) => [
    1,
    message([[1, text], [2, { float: score }], ...(type === 1 ? [] : [[3, type] as Field])]),
  ]);
  return message([...fields, [2, message([[3, 2], ...trainer])], [3, message(normalizer)]]);
}

/** A tokenizer.json of these pieces as Hugging Face's converter writes it: all splits of a piece, the best piece
 * first. */
export function tokenizerJson(pieces: readonly PieceToWrite[]): Record<string, unknown> {
  const ids = new Map(pieces.map(({ text }, id) => [text, id]));
  const scored = pieces.map(({ text, score = 0, type = 1 }, id) => ({ text, score, type, id }));
  const merges = scored
    .filter(({ type }) => type === 1)
    .sort((a, b) => b.score - a.score)
    .flatMap(({ text }) => {
      const splits = Array.from({ length: text.length - 1 }, (_, i) => [text.slice(0, i + 1), text.slice(i + 1)]);
      return splits
        .filter(([left, right]) => ids.has(left) && ids.has(right))
        .map(([left, right]) => `${left} ${right}`);
    });
  const special = (id: number) => ({ id, content: pieces[id].text, special: true, normalized: false });
  return {
    version: "1.0",
    added_tokens: [special(0), special(1), special(2)],
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "\u2581" },
        { type: "Replace", pattern: { String: " " }, content: "\u2581" },
      ],
    },
    pre_tokenizer: null,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: "<unk>",
      byte_fallback: true,
      fuse_unk: true,
      vocab: Object.fromEntries(ids),
      merges,
    },
  };
}
