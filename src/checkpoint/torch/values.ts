/*
 * The values that a pickle describes.
 */

/** A value of a pickle. */
export type Value = null | boolean | number | bigint | string | Tuple | List | Dict | Global | Storage | Tensor;

export class Tuple {
  readonly items: readonly Value[];
  constructor(items: readonly Value[]) {
    this.items = items;
  }
}

export class List {
  readonly items: Value[] = [];
}

export class Dict {
  readonly entries = new Map<Value, Value>();
  readonly ordered: boolean; // an OrderedDict, which may carry the module's metadata
  constructor(ordered: boolean) {
    this.ordered = ordered;
  }
}

/** A Python class or function, by its name. */
export class Global {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** The numbers of one or more tensors: an entry of the zip file. */
export class Storage {
  readonly type: string; // "F32"
  readonly key: string; // digits: the entry is data/KEY
  readonly length: number; // numbers
  constructor(type: string, key: string, length: number) {
    this.type = type;
    this.key = key;
    this.length = length;
  }
}

/** A view of a storage. */
export class Tensor {
  readonly storage: Storage;
  readonly offset: number; // in numbers, as the strides are
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  constructor(storage: Storage, offset: number, shape: readonly number[], strides: readonly number[]) {
    this.storage = storage;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }
}
