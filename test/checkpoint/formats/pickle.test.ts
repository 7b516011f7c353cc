import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parsePickle } from "../../../src/checkpoint/torch/pickle.ts";
import { Dict, List, Tensor, Tuple, type Value } from "../../../src/checkpoint/torch/values.ts";
import { Llama2Error } from "../../../src/errors.ts";
import { thrown } from "../../helpers/errors.ts";
import { Pickle } from "../../helpers/formats/torch.ts";

const parse = (pickle: Pickle | Uint8Array): Value =>
  parsePickle(pickle instanceof Pickle ? pickle.end() : pickle, "model.pth");
const storage =
  (length = 6, type = "FloatStorage") =>
  (pickle: Pickle) =>
    void pickle.storage(type, "0", length);
const tensor = (offset: number, shape: number[], strides: number[], length = 6) =>
  Pickle.begin().tensor(storage(length), offset, shape, strides);
const begin = () => Pickle.begin();

describe("the pickle of a checkpoint", () => {
  it("may have dicts, lists, tuples, texts and numbers", () => {
    const pickle = begin().raw(0x7d).put().op("(");
    pickle
      .text("a")
      .whole(7)
      .text("b")
      .whole(300)
      .text("c")
      .whole(-5)
      .text("d")
      .whole(2 ** 40)
      .text("e")
      .float(0.1);
    pickle.text("f").raw(0x88).text("g").op("N").text("h").op("]").op("(").whole(1).text("x").op("e");
    pickle.text("i").wholes(1, 2, 3, 4).whole(9).whole(10).op("u");
    const { entries } = parse(pickle) as Dict;
    expect([...entries.keys()]).toEqual(["a", "b", "c", "d", "e", "f", "g", "h", "i", 9]);
    expect([...entries.values()].slice(0, 7)).toEqual([7, 300, -5, 2 ** 40, 0.1, true, null]);
    expect((entries.get("h") as List).items).toEqual([1, "x"]);
    expect((entries.get("i") as Tuple).items).toEqual([1, 2, 3, 4]);
  });

  it("may have tensors and parameters, which are views of storages", () => {
    const pickle = begin().global("torch._utils", "_rebuild_parameter").op("(");
    pickle.tensor(storage(), 1, [2, 2], [3, 1]).raw(0x88).orderedDict().op("t").op("R");
    const found = parse(pickle) as Tensor;
    expect(found).toBeInstanceOf(Tensor);
    expect(found).toMatchObject({
      offset: 1,
      shape: [2, 2],
      strides: [3, 1],
      storage: { type: "F32", key: "0", length: 6 },
    });
  });

  it("may have a module's metadata", () => {
    const pickle = begin().orderedDict().put().raw(0x7d).text("_metadata").orderedDict().op("s").op("b");
    expect((parse(pickle) as Dict).entries.size).toBe(0);
  });

  it("may have tensors without numbers, and without dimensions", () => {
    expect((parse(tensor(0, [], [], 1)) as Tensor).shape).toEqual([]);
    expect((parse(tensor(0, [0, 3], [3, 1], 0)) as Tensor).shape).toEqual([0, 3]);
  });
});

const call = (module: string, name: string, write: (pickle: Pickle) => void = (pickle) => pickle.op(")")) => {
  const pickle = begin().global(module, name);
  write(pickle);
  return pickle.op("R");
};
const rebuild = (write: (pickle: Pickle) => void) =>
  call("torch._utils", "_rebuild_tensor_v2", (pickle) => {
    write(pickle.op("("));
    pickle.op("t");
  });
const id = (write: (pickle: Pickle) => void) => {
  const pickle = begin().op("(");
  write(pickle);
  return pickle.op("t").op("Q");
};

describe("nothing is called, and refused by name:", () => {
  it.each([
    ["os.system", call("os", "system", (p) => p.text("id").raw(0x85)), /asks for os.system.*Nothing was called/],
    ["posix.system", call("posix", "system"), /posix.system/],
    ["builtins.eval", call("builtins", "eval", (p) => p.text("1").raw(0x85)), /builtins.eval/],
    ["builtins.getattr", call("builtins", "getattr"), /builtins.getattr/],
    ["__builtin__.exec", call("__builtin__", "exec"), /__builtin__.exec/],
    ["subprocess.Popen", call("subprocess", "Popen"), /subprocess.Popen/],
    ["runpy._run_code", call("runpy", "_run_code"), /runpy/],
    ["torch.load", call("torch", "load"), /asks for torch.load/],
    ["torch.storage._load_from_bytes", call("torch.storage", "_load_from_bytes"), /_load_from_bytes/],
    ["torch.hub.load", call("torch.hub", "load"), /torch.hub.load/],
    ["torch.utils._config_module.load_config", call("torch.utils._config_module", "load_config"), /load_config/],
    [
      "a rebuild function with code in it",
      call("torch._utils", "_rebuild_device_tensor_from_numpy"),
      /_rebuild_device_tensor/,
    ],
    [
      "_rebuild_from_type_v2, which calls what it is given",
      call("torch._tensor", "_rebuild_from_type_v2"),
      /_rebuild_from_type_v2/,
    ],
    ["numpy's scalar", call("numpy.core.multiarray", "scalar"), /numpy.core.multiarray.scalar/],
    ["_codecs.encode", call("_codecs", "encode"), /_codecs.encode/],
    ["an attribute of an allowed name", call("torch._utils", "_rebuild_tensor_v2.__globals__"), /__globals__/],
    ["an allowed name with a line end of Windows", call("collections", "OrderedDict\r"), /OrderedDict/],
    ["a name that prints a terminal's commands", call("\u001b[2J", "x"), /asks for {2}\[2J.x/],
    ["a name without an end", begin().raw(0x63, ...Array(300).fill(0x61)), /a name is too long/],
  ])("%s", (_, pickle, message) => {
    expect(thrown("E_FORMAT", () => parse(pickle)).message).toMatch(message);
  });

  it.each([
    [
      "INST",
      begin()
        .op("(")
        .raw(0x69, ...Buffer.from("os\nsystem\n")),
      /INST/,
    ],
    ["OBJ", begin().op("(").global("collections", "OrderedDict").op("o"), /OBJ/],
    ["NEWOBJ", begin().global("collections", "OrderedDict").op(")").raw(0x81), /NEWOBJ/],
    ["NEWOBJ_EX", begin().global("collections", "OrderedDict").op(")").op("}").raw(0x92), /NEWOBJ_EX/],
    ["EXT1", begin().raw(0x82, 1), /EXT1/],
    ["STACK_GLOBAL", begin().text("os").text("system").raw(0x93), /STACK_GLOBAL/],
    ["PERSID", begin().raw(0x50, 0x61, 10), /PERSID/],
    ["FRAME", begin().raw(0x95, 255, 255, 255, 255, 255, 255, 255, 255), /0x95/],
    ["MEMOIZE", begin().op("N").raw(0x94), /0x94/],
    ["POP", begin().op("N").op("0"), /0x30/],
    ["DUP", begin().op("N").op("2"), /0x32/],
    ["a number as text", begin().raw(...Buffer.from("I01\n")), /0x49/],
    ["a text with quotation marks", begin().raw(...Buffer.from("S'os'\n")), /0x53/],
    ["bytes", begin().raw(0x43, 1, 65), /0x43/],
    ["a set", begin().raw(0x8f), /0x8f/],
    ["an opcode that does not exist", begin().raw(0xff), /0xff/],
    ["protocol 4", Uint8Array.of(0x80, 4, 0x4e, 0x2e), /protocol 2/],
    ["no protocol", Uint8Array.of(0x4e, 0x2e), /protocol 2/],
    ["a second protocol", begin().raw(0x80, 2).op("N"), /0x80/],
    ["nothing", new Uint8Array(), /protocol 2/],
    ["no end", Uint8Array.of(0x80, 2, 0x4e), /ends too early/],
    ["something after the end", Uint8Array.of(0x80, 2, 0x4e, 0x2e, 0x2e), /follows its end/],
    ["two values at the end", begin().op("N").op("N"), /in the middle/],
    ["no value at the end", begin(), /in the middle/],
    ["a mark at the end", begin().op("N").op("("), /in the middle/],
  ])("the opcode or end: %s", (_, pickle, message) => {
    expect(thrown("E_FORMAT", () => parse(pickle)).message).toMatch(message);
  });

  it.each([
    ["a call of something the name is empty", begin().text("os.system").op(")").op("R"), /Nothing was called/],
    ["a call without a tuple", begin().global("collections", "OrderedDict").op("N").op("R"), /Nothing was called/],
    [
      "OrderedDict of something",
      call("collections", "OrderedDict", (p) => p.op("]").raw(0x85)),
      /calls collections.OrderedDict as/,
    ],
    [
      "a storage class that is called",
      call("torch", "FloatStorage", (p) => p.wholes(5)),
      /calls torch.FloatStorage as/,
    ],
    ["BUILD of a dict", begin().raw(0x7d).raw(0x7d).op("b"), /state of something that has none/],
    ["BUILD of a name", begin().global("collections", "OrderedDict").raw(0x7d).op("b"), /state of something/],
    ["BUILD of a tensor", tensor(0, [6], [1]).raw(0x7d).op("b"), /state of something/],
    [
      "BUILD with __class__",
      begin().orderedDict().raw(0x7d).text("__class__").op("N").op("s").op("b"),
      /state of something/,
    ],
    ["BUILD with a tuple", begin().orderedDict().op(")").op("b"), /state of something/],
    ["SETITEM of a list", begin().op("]").text("a").op("N").op("s"), /not a dict/],
    [
      "SETITEMS of a name",
      begin().global("collections", "OrderedDict").op("(").text("a").op("N").op("u"),
      /not a dict/,
    ],
    ["SETITEMS of an odd number", begin().raw(0x7d).op("(").text("a").op("u"), /not a dict/],
    ["APPEND to a dict", begin().raw(0x7d).op("N").op("a"), /not a list/],
    ["APPENDS to a tuple", begin().op(")").op("(").op("N").op("e"), /not a list/],
    ["a key that is a tuple", begin().raw(0x7d).op(")").op("N").op("s"), /key of a dict/],
    ["a key twice", begin().raw(0x7d).op("(").text("a").op("N").text("a").op("N").op("u"), /"a" twice/],
    ["a tuple of what a mark hides", begin().op("N").op("(").raw(0x85), /more values than there are/],
    ["a mark that was not set", begin().op("N").op("t"), /mark that it did not set/],
    ["nesting beyond reason", begin().raw(...Array(101).fill(0x28)), /nested too deep/],
    ["a value that was never remembered", begin().raw(0x68, 0), /recalls value 0 of 0/],
    ["a memory with holes", begin().op("N").raw(0x71, 5), /remembers value 5/],
    ["a memory at 2^32", begin().op("N").raw(0x72, 255, 255, 255, 255), /remembers value 4294967295/],
    ["a text past the end", begin().raw(0x58, 255, 255, 255, 255, 0x61), /ends too early/],
    ["a text that is not UTF-8", begin().raw(0x58, 1, 0, 0, 0, 0xff), /UTF-8/],
    ["a number of 255 bytes", begin().raw(0x8a, 255), /255 bytes/],
  ])("a broken structure: %s", (_, pickle, message) => {
    expect(thrown("E_FORMAT", () => parse(pickle)).message).toMatch(message);
  });

  it.each([
    [
      "five arguments",
      rebuild((p) => {
        storage()(p);
        p.whole(0).wholes(6).wholes(1).raw(0x89);
      }),
      /_rebuild_tensor_v2 as/,
    ],
    [
      "seven arguments",
      rebuild((p) => {
        storage()(p);
        p.whole(0).wholes(6).wholes(1).raw(0x89).orderedDict().op("N");
      }),
      /_rebuild_tensor_v2 as/,
    ],
    [
      "no storage",
      rebuild((p) => p.op("N").whole(0).wholes(6).wholes(1).raw(0x89).orderedDict()),
      /_rebuild_tensor_v2 as/,
    ],
    [
      "an offset that is text",
      rebuild((p) => {
        storage()(p);
        p.text("0").wholes(6).wholes(1).raw(0x89).orderedDict();
      }),
      /_rebuild_tensor_v2 as/,
    ],
    [
      "backward hooks",
      rebuild((p) => {
        storage()(p);
        p.whole(0).wholes(6).wholes(1).raw(0x89).orderedDict().text("a").op("N").op("s");
      }),
      /_rebuild_tensor_v2 as/,
    ],
    [
      "hooks that are a dict",
      rebuild((p) => {
        storage()(p);
        p.whole(0).wholes(6).wholes(1).raw(0x89).raw(0x7d);
      }),
      /_rebuild_tensor_v2 as/,
    ],
    [
      "a shape that is a list",
      rebuild((p) => {
        storage()(p);
        p.whole(0).op("]").wholes(1).raw(0x89).orderedDict();
      }),
      /_rebuild_tensor_v2 as/,
    ],
    ["more strides than sizes", tensor(0, [6], [1, 1]), /_rebuild_tensor_v2 as/],
    ["a negative offset", tensor(-1, [2], [1]), /_rebuild_tensor_v2 as/],
    ["a negative stride", tensor(5, [2], [-1]), /_rebuild_tensor_v2 as/],
    ["a negative size", tensor(0, [-2], [1]), /_rebuild_tensor_v2 as/],
    ["one number too many", tensor(0, [7], [1]), /does not fit its storage of 6/],
    ["an offset past the end", tensor(6, [1], [1]), /does not fit/],
    ["a stride past the end", tensor(0, [2, 2], [5, 1]), /does not fit/],
    ["2^40 numbers from one by strides of 0", tensor(0, [2 ** 20, 2 ** 20], [0, 0]), /does not fit/],
    ["products that wrap", tensor(0, [2 ** 31, 2 ** 31, 2 ** 31], [2 ** 31, 2 ** 31, 1]), /does not fit/],
    ["strides that add up beyond 2^53", tensor(2 ** 52, [2, 2], [2 ** 52, 2 ** 52]), /does not fit/],
    [
      "a parameter of something else",
      call("torch._utils", "_rebuild_parameter", (p) => p.op("(").op("N").raw(0x88).orderedDict().op("t")),
      /_rebuild_parameter as/,
    ],
  ])("a tensor with %s", (_, pickle, message) => {
    expect(thrown("E_FORMAT", () => parse(pickle)).message).toMatch(message);
  });

  it.each([
    [
      "another kind",
      id((p) => p.text("module").global("torch", "FloatStorage").text("0").text("cpu").whole(1)),
      /names a storage/,
    ],
    [
      "a type that is text",
      id((p) => p.text("storage").text("FloatStorage").text("0").text("cpu").whole(1)),
      /names a storage/,
    ],
    [
      "a type that is another name",
      id((p) => p.text("storage").global("collections", "OrderedDict").text("0").text("cpu").whole(1)),
      /names a storage/,
    ],
    [
      "a negative length",
      id((p) => p.text("storage").global("torch", "FloatStorage").text("0").text("cpu").whole(-1)),
      /names a storage/,
    ],
    [
      "six parts",
      id((p) => p.text("storage").global("torch", "FloatStorage").text("0").text("cpu").whole(1).op("N")),
      /names a storage/,
    ],
    [
      "a path as its key",
      id((p) => p.text("storage").global("torch", "FloatStorage").text("../0").text("cpu").whole(1)),
      /key is not a number/,
    ],
    [
      "a key that is a number",
      id((p) => p.text("storage").global("torch", "FloatStorage").whole(0).text("cpu").whole(1)),
      /key is not a number/,
    ],
    [
      "zeros before its key",
      id((p) => p.text("storage").global("torch", "FloatStorage").text("00").text("cpu").whole(1)),
      /key is not a number/,
    ],
    ["a persistent id that is text", begin().text("storage").op("Q"), /names a storage/],
    [
      "two lengths",
      begin().storage("FloatStorage", "0", 1).storage("FloatStorage", "0", 2).raw(0x86),
      /storage 0 is 1 F32 in one place and 2 F32/,
    ],
    [
      "two types",
      begin().storage("FloatStorage", "0", 1).storage("HalfStorage", "0", 1).raw(0x86),
      /1 F32 in one place and 1 F16/,
    ],
  ])("a storage with %s", (_, pickle, message) => {
    expect(thrown("E_FORMAT", () => parse(pickle)).message).toMatch(message);
  });

  it("a million opcodes", () => {
    const bytes = new Uint8Array(1_000_010).fill(0x4e);
    bytes.set([0x80, 2]);
    expect(thrown("E_FORMAT", () => parse(bytes)).message).toMatch(/more than 1000000 opcodes/);
  });
});

/** Something of everything that a checkpoint has. */
function whole(): Uint8Array {
  const pickle = begin().raw(0x7d).put().op("(").text("model").orderedDict().put().op("(");
  pickle.text("a").tensor(storage(), 0, [2, 3], [3, 1]);
  pickle
    .text("b")
    .tensor((p) => void p.storage("HalfStorage", "1", 9), 1, [2, 2], [4, 2])
    .op("u");
  pickle.raw(0x7d).text("_metadata").orderedDict().op("s").op("b");
  pickle
    .text("args")
    .raw(0x7d)
    .put()
    .op("(")
    .text("dim")
    .whole(64)
    .text("lr")
    .float(0.5)
    .text("list")
    .op("]")
    .op("N")
    .op("a")
    .op("u");
  return pickle.op("u").end();
}

it("a damaged pickle is refused with a typed error, or all its tensors lie within their storages", () => {
  const good = whole();
  const opcodes = [
    0x28, 0x71, 0x72, 0x68, 0x6a, 0x63, 0x52, 0x51, 0x62, 0x73, 0x75, 0x61, 0x65, 0x4e, 0x88, 0x4b, 0x4d, 0x4a, 0x8a,
    0x47, 0x58, 0x7d, 0x5d, 0x29, 0x74, 0x85, 0x86, 0x87, 0x2e,
  ];
  const change = fc.record({
    at: fc.nat(good.length - 1),
    remove: fc.nat(3),
    insert: fc.oneof(fc.array(fc.constantFrom(...opcodes), { maxLength: 3 }), fc.array(fc.nat(255), { maxLength: 3 })),
  });
  const outcomes: Record<string, number> = {};
  const property = fc.property(fc.array(change, { minLength: 1, maxLength: 2 }), (changes) => {
    let bytes = [...good];
    for (const { at, remove, insert } of changes)
      bytes = [...bytes.slice(0, at), ...insert, ...bytes.slice(at + remove)];
    const did = outcome(Uint8Array.from(bytes));
    outcomes[did] = (outcomes[did] ?? 0) + 1;
  });
  fc.assert(property, { seed: 22, numRuns: 10_000 });
  expect(outcome(good)).toBe("parsed");
  expect(outcomes.parsed).toBeGreaterThan(100);
  expect(outcomes.E_FORMAT).toBeGreaterThan(1000);
});

function outcome(bytes: Uint8Array): string {
  try {
    check(parse(bytes), 0);
    return "parsed";
  } catch (error) {
    if (error instanceof Llama2Error) return error.code;
    throw error;
  }
}

function check(value: Value, depth: number): void {
  if (depth > 5) return; // a list may hold itself
  if (value instanceof Dict) for (const item of value.entries.values()) check(item, depth + 1);
  if (value instanceof List || value instanceof Tuple) for (const item of value.items) check(item, depth + 1);
  if (!(value instanceof Tensor) || value.shape.includes(0)) return;
  const last = value.shape.reduce((sum, size, i) => sum + (size - 1) * value.strides[i], value.offset);
  expect(last).toBeLessThan(value.storage.length);
}
