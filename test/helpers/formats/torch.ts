/*
 * Files of torch.save, made by the tests: pickles opcode by opcode.
 */
import { encodeNumbers, type TensorToWrite } from "./numbers.ts";
import { type Entry, type ZipOptions, zipBytes } from "./zip.ts";

/** Writes a pickle. Each method writes one opcode and returns the writer. */
export class Pickle {
  private readonly parts: Uint8Array[] = [];
  private remembered = 0;

  static begin(): Pickle {
    return new Pickle().raw(0x80, 2);
  }
  raw(...bytes: number[]): this {
    this.parts.push(Uint8Array.from(bytes));
    return this;
  }
  op(opcode: string): this {
    return this.raw(opcode.charCodeAt(0));
  }
  /** Remember what is on top, as pickle does with nearly everything. */
  put(): this {
    const index = this.remembered++;
    return index < 256 ? this.raw(0x71, index) : this.op("r").uint32(index);
  }
  uint32(n: number): this {
    return this.raw(n & 255, (n >>> 8) & 255, (n >>> 16) & 255, (n >>> 24) & 255);
  }
  global(module: string, name: string): this {
    this.parts.push(Buffer.from(`c${module}\n${name}\n`));
    return this;
  }
  text(text: string): this {
    const bytes = Buffer.from(text);
    this.op("X").uint32(bytes.length).parts.push(bytes);
    return this.put();
  }
  whole(n: number): this {
    if (n >= 0 && n < 256) return this.raw(0x4b, n);
    if (n >= 0 && n < 65536) return this.raw(0x4d, n & 255, n >>> 8);
    if (n >= -(2 ** 31) && n < 2 ** 31) return this.op("J").uint32(n);
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(n));
    return this.raw(0x8a, 8, ...bytes);
  }
  float(n: number): this {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleBE(n);
    return this.op("G").raw(...bytes);
  }
  wholes(...ns: number[]): this {
    if (ns.length === 0) return this.op(")");
    if (ns.length > 3) this.op("(");
    for (const n of ns) this.whole(n);
    return (ns.length > 3 ? this.op("t") : this.raw(0x84 + ns.length)).put();
  }
  orderedDict(): this {
    return this.global("collections", "OrderedDict").op(")").op("R");
  }
  storage(type: string, key: string, length: number, device = "cpu"): this {
    this.op("(").text("storage").global("torch", type).text(key).text(device).whole(length);
    return this.op("t").put().op("Q");
  }
  /** A tensor of a storage that `storage` wrote. */
  tensor(write: (pickle: this) => void, offset: number, shape: number[], strides: number[]): this {
    this.global("torch._utils", "_rebuild_tensor_v2").op("(");
    write(this);
    this.whole(offset)
      .wholes(...shape)
      .wholes(...strides)
      .raw(0x89)
      .orderedDict();
    return this.op("t").put().op("R").put();
  }
  end(): Uint8Array {
    return new Uint8Array(Buffer.concat([...this.op(".").parts]));
  }
}

export const STORAGE_OF = {
  F32: "FloatStorage",
  F16: "HalfStorage",
  BF16: "BFloat16Storage",
  Q8_0: "CharStorage",
} as const;

export const rowMajor = (shape: readonly number[]): number[] =>
  shape.map((_, i) => shape.slice(i + 1).reduce((product, size) => product * size, 1));

/** A pickle of a dict of tensors, each with a storage of its own: the first has the key `first`. */
export function addTensors(pickle: Pickle, tensors: readonly TensorToWrite[], prefix = ""): Pickle {
  pickle.orderedDict().put().op("(");
  tensors.forEach(({ name, type, shape, values }, key) => {
    pickle.text(prefix + name);
    pickle.tensor((p) => p.storage(STORAGE_OF[type], `${key}`, values.length), 0, [...shape], rowMajor(shape));
  });
  return pickle.op("u");
}

/** What stands in a zip of torch.save beside the pickle. */
export function storageEntries(tensors: readonly TensorToWrite[], folder = "archive"): Entry[] {
  return tensors.map(({ type, values }, key) => ({ name: `${folder}/data/${key}`, data: encodeNumbers(type, values) }));
}

/** A whole file from a pickle and the storages. */
export function torchZip(pickle: Uint8Array, storages: readonly Entry[], options: ZipOptions = {}): Uint8Array {
  const entries: Entry[] = [
    { name: "archive/data.pkl", data: pickle },
    { name: "archive/byteorder", data: Buffer.from("little") },
    ...storages,
    { name: "archive/version", data: Buffer.from("3\n") },
    { name: "archive/.data/serialization_id", data: Buffer.from("0123456789") },
  ];
  return zipBytes(entries, options);
}

/** torch.save(OrderedDict of these tensors). */
export function torchBytes(tensors: readonly TensorToWrite[], options: ZipOptions = {}): Uint8Array {
  return torchZip(addTensors(Pickle.begin(), tensors).end(), storageEntries(tensors), options);
}
