/*
 * JSON that is changed as a tree, and written with things that JSON.stringify never writes: duplicate keys,
 * `__proto__`.
 */
import type { Dice } from "./dice.ts";

export type Json = null | boolean | number | string | Json[] | JsonFields;
/** An object as a list, so that a key may occur twice. */
export class JsonFields {
  readonly fields: [key: string, value: Json][];
  constructor(fields: [key: string, value: Json][]) {
    this.fields = fields;
  }
}

/** A value of JavaScript's as such a tree. */
export function treeOf(value: unknown): Json {
  if (Array.isArray(value)) return value.map(treeOf);
  if (typeof value !== "object" || value === null) return value as Json;
  return new JsonFields(Object.entries(value).map(([key, inner]) => [key, treeOf(inner)]));
}

/** The same tree with one to three places changed. What is not changed is shared. */
export function changedTree(tree: Json, dice: Dice): Json {
  let result = tree;
  for (let changes = dice.below(3); changes >= 0; changes--) result = change(result, dice);
  return result;
}

/** Go down to a random place, and change the value there. */
function change(tree: Json, dice: Dice): Json {
  const isLeaf = typeof tree !== "object" || tree === null;
  if (isLeaf || dice.chance(0.15)) return dice.chance(0.5) ? near(tree, dice) : anything(dice);
  if (Array.isArray(tree)) {
    const copy = [...tree];
    const at = dice.below(copy.length + 1);
    if (dice.chance(0.7) && at < copy.length) copy[at] = change(copy[at], dice);
    else copy.splice(at, dice.below(2), ...(dice.chance(0.6) ? [at > 0 ? copy[at - 1] : anything(dice)] : []));
    return copy;
  }
  const fields = [...tree.fields];
  const at = dice.below(fields.length + 1);
  if (at === fields.length) {
    fields.push([dice.text(), anything(dice)]);
    return new JsonFields(fields);
  }
  const [key, value] = fields[at];
  if (dice.chance(0.75)) {
    fields[at] = [key, change(value, dice)];
    return new JsonFields(fields);
  }
  switch (dice.below(4)) {
    case 0:
      fields.splice(at, 1);
      break;
    case 1:
      fields.push(fields[at]); // the key twice
      break;
    case 2:
      fields[at] = [dice.chance(0.5) ? dice.text() : dice.pick(fields)[0], value];
      break;
    default:
      fields[at] = [key, dice.pick(fields)[1]];
  }
  return new JsonFields(fields);
}

/** A value of the same type. */
function near(value: Json, dice: Dice): Json {
  if (typeof value === "number") return dice.chance(0.4) ? value + dice.below(5) - 2 : dice.number();
  if (typeof value === "boolean") return !value;
  return dice.text();
}

function anything(dice: Dice): Json {
  switch (dice.below(8)) {
    case 0:
      return null;
    case 1:
      return dice.chance(0.5);
    case 2:
      return dice.number();
    case 3:
      return dice.text();
    case 4:
      return [dice.number(), dice.text()];
    case 5:
      return new JsonFields([[dice.text(), dice.number()]]);
    case 6: {
      let nested: Json = [];
      for (let depth = dice.below(120); depth > 0; depth--) nested = [nested];
      return nested;
    }
    default:
      return String(dice.number());
  }
}

/** The text of a tree. */
export function write(tree: Json): string {
  if (Array.isArray(tree)) return `[${tree.map(write).join(",")}]`;
  if (!(tree instanceof JsonFields)) return JSON.stringify(tree);
  return `{${tree.fields.map(([key, value]) => `${JSON.stringify(key)}:${write(value)}`).join(",")}}`;
}

export const jsonBytes = (tree: Json): Uint8Array => UTF8.encode(write(tree));
const UTF8 = new TextEncoder();
