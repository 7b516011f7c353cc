/*
 * The pickle of a PyTorch checkpoint: which tensor is which part of which storage.
 *
 * A pickle is a program for a small stack machine, and in Python it can call whatever it can import: loading an untrusted
 * checkpoint may run its code. Here nothing is ever called. The program is read as a description, and only the opcodes
 * that torch.save writes are understood. A list of allowed names would not be enough, since functions with harmless names
 * have been abused again and again. So each of the four functions that a checkpoint may "call" is known with the number
 * and types of its arguments, and its result is a plain value.
 */
import { Llama2Error } from "../../errors.ts";
import { decodeUtf8, printable, quoted } from "../json.ts";
import { Dict, Global, List, Storage, Tensor, Tuple, type Value } from "./values.ts";

const ORDERED_DICT = "collections.OrderedDict";
const REBUILD_TENSOR = "torch._utils._rebuild_tensor_v2";
const REBUILD_PARAMETER = "torch._utils._rebuild_parameter";
/** Storage classes, and the type of their numbers in safetensors' names. */
const STORAGES = new Map([
  ["torch.FloatStorage", "F32"],
  ["torch.HalfStorage", "F16"],
  ["torch.BFloat16Storage", "BF16"],
  ["torch.DoubleStorage", "F64"],
  ["torch.LongStorage", "I64"],
  ["torch.IntStorage", "I32"],
  ["torch.ShortStorage", "I16"],
  ["torch.CharStorage", "I8"],
  ["torch.ByteStorage", "U8"],
  ["torch.BoolStorage", "BOOL"],
]);

/** A training checkpoint of a large model has about 200,000 bytes of pickle, most others far fewer. */
export const MAX_PICKLE_BYTES = 2 ** 24;
/** A tensor takes about 50 opcodes. */
const MAX_OPCODES = 1_000_000;
const MAX_MARKS = 100;

/** All other opcodes are refused; the well-known ones by name. */
const DANGEROUS: Record<number, string> = {
  105: "INST",
  111: "OBJ",
  129: "NEWOBJ",
  146: "NEWOBJ_EX",
  147: "STACK_GLOBAL",
  130: "EXT1",
  131: "EXT2",
  132: "EXT4",
  80: "PERSID",
};

/**
 * The value that a pickle describes.
 * @param name of the file, for messages
 * @throws Llama2Error E_FORMAT, with the byte of the pickle, for anything that torch.save does not write
 */
export function parsePickle(bytes: Uint8Array, name: string): Value {
  return new PickleReader(bytes, name).read();
}

class PickleReader {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly name: string;
  private at = 0; // the next byte
  private opcodeAt = 0;
  private readonly stack: Value[] = [];
  private readonly marks: number[] = []; // heights of the stack
  private readonly memo: Value[] = [];
  private readonly storages = new Map<string, Storage>();

  constructor(bytes: Uint8Array, name: string) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.name = name;
  }

  read(): Value {
    if (this.bytes[0] !== 0x80 || this.bytes[1] !== 2) throw this.refuse("it does not begin with protocol 2");
    this.at = 2;
    for (let opcodes = 0; opcodes < MAX_OPCODES; opcodes++) {
      this.opcodeAt = this.at;
      const opcode = this.take(1).getUint8(0);
      if (opcode === 0x2e) return this.end(); // STOP
      this.step(opcode);
    }
    throw this.refuse(`it has more than ${MAX_OPCODES} opcodes`);
  }

  /** STOP: one value must be left, and no byte. */
  private end(): Value {
    if (this.marks.length > 0 || this.stack.length !== 1) throw this.refuse("it stops in the middle");
    if (this.at !== this.bytes.length) throw this.refuse(`something follows its end, at byte ${this.at}`);
    return this.stack[0];
  }

  private step(opcode: number): void {
    switch (opcode) {
      case 0x28: // MARK
        if (this.marks.push(this.stack.length) > MAX_MARKS) throw this.refuse("it is nested too deep");
        break;
      case 0x71: // BINPUT
        this.put(this.take(1).getUint8(0));
        break;
      case 0x72: // LONG_BINPUT
        this.put(this.take(4).getUint32(0, true));
        break;
      case 0x68: // BINGET
        this.get(this.take(1).getUint8(0));
        break;
      case 0x6a: // LONG_BINGET
        this.get(this.take(4).getUint32(0, true));
        break;
      case 0x63: // GLOBAL
        this.push(this.global());
        break;
      case 0x52: // REDUCE
        this.reduce();
        break;
      case 0x51: // BINPERSID
        this.push(this.storage(this.pop()));
        break;
      case 0x62: // BUILD
        this.build();
        break;
      case 0x73: // SETITEM
        this.setItems(this.stack.splice(this.floor(2), 2));
        break;
      case 0x75: // SETITEMS
        this.setItems(this.sinceMark());
        break;
      case 0x61: // APPEND
        this.append([this.pop()]);
        break;
      case 0x65: // APPENDS
        this.append(this.sinceMark());
        break;
      default:
        this.push(this.simple(opcode));
        break;
    }
  }

  /** Opcodes that push a value: a constant, or made of values on the stack. */
  private simple(opcode: number): Value {
    switch (opcode) {
      case 0x4e: // NONE
        return null;
      case 0x88: // NEWTRUE
        return true;
      case 0x89: // NEWFALSE
        return false;
      case 0x4b: // BININT1
        return this.take(1).getUint8(0);
      case 0x4d: // BININT2
        return this.take(2).getUint16(0, true);
      case 0x4a: // BININT
        return this.take(4).getInt32(0, true);
      case 0x8a: // LONG1
        return this.long();
      case 0x47: // BINFLOAT
        return this.take(8).getFloat64(0);
      case 0x58: // BINUNICODE
        return this.text();
      case 0x7d: // EMPTY_DICT
        return new Dict(false);
      case 0x5d: // EMPTY_LIST
        return new List();
      case 0x29: // EMPTY_TUPLE
        return new Tuple([]);
      case 0x74: // TUPLE
        return new Tuple(this.sinceMark());
      case 0x85: // TUPLE1, TUPLE2, TUPLE3
      case 0x86:
      case 0x87:
        return new Tuple(this.stack.splice(this.floor(opcode - 0x84), opcode - 0x84));
      default: {
        const what = DANGEROUS[opcode] ?? `the opcode 0x${opcode.toString(16).padStart(2, "0")}`;
        throw this.refuse(`it uses ${what}, which torch.save does not write`);
      }
    }
  }

  // --------------------------------------------------------------------------
  // what a checkpoint may ask for

  private global(): Global {
    const name = `${this.line()}.${this.line()}`;
    if (name === ORDERED_DICT || name === REBUILD_TENSOR || name === REBUILD_PARAMETER || STORAGES.has(name)) {
      return new Global(name);
    }
    throw this.refuse(`it asks for ${printable(name)}, which no checkpoint needs. Nothing was called`);
  }

  private reduce(): void {
    const args = this.pop();
    const callee = this.pop();
    const items = args instanceof Tuple ? args.items : undefined;
    const name = callee instanceof Global ? callee.name : undefined;
    const value =
      name === ORDERED_DICT && items?.length === 0
        ? new Dict(true)
        : name === REBUILD_TENSOR && items
          ? this.tensor(items)
          : name === REBUILD_PARAMETER && items
            ? parameter(items)
            : undefined;
    if (value === undefined)
      throw this.refuse(`it calls ${name ?? "something"} as torch.save does not. Nothing was called`);
    this.push(value);
  }

  /** The arguments of _rebuild_tensor_v2: storage, offset, shape, strides, requires_grad, backward hooks. */
  private tensor(items: readonly Value[]): Tensor | undefined {
    const [storage, offset, shape, strides, grad, hooks] = items;
    if (items.length !== 6 || !(storage instanceof Storage) || !isSize(offset)) return undefined;
    if (typeof grad !== "boolean" || !isEmptyOrderedDict(hooks)) return undefined;
    const sizes = sizesOf(shape);
    const steps = sizesOf(strides);
    if (!sizes || !steps || sizes.length !== steps.length || sizes.length > 8) return undefined;
    const count = sizes.reduce((product, size) => product * size, 1);
    const last = sizes.reduce((sum, size, i) => sum + (size - 1) * steps[i], offset);
    if (count > storage.length || (count > 0 && last >= storage.length)) {
      throw this.refuse(
        `a tensor of shape (${sizes.join(", ")}), strides (${steps.join(", ")}) and offset ${offset} does not fit its storage of ${storage.length} numbers`,
      );
    }
    return new Tensor(storage, offset, sizes, steps);
  }

  /** The storage that a persistent id names: ("storage", class, key, device, length). */
  private storage(id: Value): Storage {
    const [kind, type, key, device, length] = id instanceof Tuple && id.items.length === 5 ? id.items : [];
    const numbers = type instanceof Global ? STORAGES.get(type.name) : undefined;
    if (kind !== "storage" || numbers === undefined || typeof device !== "string" || !isSize(length)) {
      throw this.refuse("it names a storage as torch.save does not");
    }
    if (typeof key !== "string" || !/^(0|[1-9]\d{0,8})$/.test(key))
      throw this.refuse("a storage's key is not a number");
    const known = this.storages.get(key);
    if (known && (known.type !== numbers || known.length !== length)) {
      throw this.refuse(
        `storage ${key} is ${known.length} ${known.type} in one place and ${length} ${numbers} in another`,
      );
    }
    const storage = known ?? new Storage(numbers, key, length);
    this.storages.set(key, storage);
    return storage;
  }

  /** The state of an OrderedDict: a module's `_metadata`, which says nothing about its tensors. */
  private build(): void {
    const state = this.pop();
    const target = this.stack.at(-1);
    const keys = state instanceof Dict ? [...state.entries.keys()] : undefined;
    if (!(target instanceof Dict) || !target.ordered || !keys?.every((key) => key === "_metadata")) {
      throw this.refuse("it sets the state of something that has none. Nothing was called");
    }
  }

  private setItems(items: readonly Value[]): void {
    const dict = this.stack[this.floor(1)];
    if (!(dict instanceof Dict) || items.length % 2 !== 0)
      throw this.refuse("it sets items of something that is not a dict");
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i];
      if (typeof key !== "string" && !isSize(key)) throw this.refuse("a key of a dict is neither text nor a number");
      if (dict.entries.has(key)) throw this.refuse(`a dict has the key ${quoted(String(key))} twice`);
      dict.entries.set(key, items[i + 1]);
    }
  }

  private append(items: readonly Value[]): void {
    const list = this.stack[this.floor(1)];
    if (!(list instanceof List)) throw this.refuse("it appends to something that is not a list");
    for (const item of items) list.items.push(item);
  }

  // --------------------------------------------------------------------------
  // the stack and the memo

  private push(value: Value): void {
    this.stack.push(value);
  }

  private pop(): Value {
    return this.stack.splice(this.floor(1), 1)[0];
  }

  /** The height of the stack below its last `count` values, which must be above the last mark. */
  private floor(count: number): number {
    const floor = this.stack.length - count;
    if (floor < (this.marks.at(-1) ?? 0)) throw this.refuse("it takes more values than there are");
    return floor;
  }

  private sinceMark(): Value[] {
    const mark = this.marks.pop();
    if (mark === undefined) throw this.refuse("it goes back to a mark that it did not set");
    return this.stack.splice(mark);
  }

  /** Store the last value in the memo. torch.save numbers its entries from 0. */
  private put(index: number): void {
    const value = this.stack[this.floor(1)];
    if (index !== this.memo.length)
      throw this.refuse(`it remembers value ${index}, and the next would be ${this.memo.length}`);
    this.memo.push(value);
  }

  private get(index: number): void {
    if (index >= this.memo.length) throw this.refuse(`it recalls value ${index} of ${this.memo.length}`);
    this.push(this.memo[index]);
  }

  // --------------------------------------------------------------------------
  // the bytes

  private take(length: number): DataView {
    if (this.at + length > this.bytes.length) throw this.refuse("it ends too early");
    const view = new DataView(this.view.buffer, this.view.byteOffset + this.at, length);
    this.at += length;
    return view;
  }

  /** Text after its length. */
  private text(): string {
    const view = this.take(this.take(4).getUint32(0, true));
    const text = decodeUtf8(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
    if (text === undefined) throw this.refuse("a text is not UTF-8");
    return text;
  }

  /** A name that ends with a newline. Known names have at most 31 characters. */
  private line(): string {
    const end = this.bytes.subarray(this.at, this.at + 200).indexOf(10);
    if (end < 0) throw this.refuse("a name is too long or has no end");
    const text = String.fromCharCode(...this.bytes.subarray(this.at, this.at + end));
    this.at += end + 1;
    return text;
  }

  /** A whole number of up to eight bytes. */
  private long(): number | bigint {
    const length = this.take(1).getUint8(0);
    if (length > 8) throw this.refuse(`a number has ${length} bytes`);
    const view = this.take(length);
    let value = 0n;
    for (let i = 0; i < length; i++) value |= BigInt(view.getUint8(i)) << BigInt(8 * i);
    const signed = BigInt.asIntN(8 * length, value);
    const number = Number(signed);
    return Number.isSafeInteger(number) ? number : signed;
  }

  private refuse(why: string): Llama2Error {
    return new Llama2Error("E_FORMAT", `${this.name} is refused at byte ${this.opcodeAt} of its pickle: ${why}`);
  }
}

/** The arguments of _rebuild_parameter: tensor, requires_grad, backward hooks. */
function parameter(items: readonly Value[]): Tensor | undefined {
  const [tensor, grad, hooks] = items;
  const expected = items.length === 3 && tensor instanceof Tensor && typeof grad === "boolean";
  return expected && isEmptyOrderedDict(hooks) ? tensor : undefined;
}

const isEmptyOrderedDict = (value: Value): boolean =>
  value instanceof Dict && value.ordered && value.entries.size === 0;

const isSize = (value: Value | undefined): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

function sizesOf(value: Value): number[] | undefined {
  return value instanceof Tuple && value.items.every(isSize) ? [...(value.items as number[])] : undefined;
}
