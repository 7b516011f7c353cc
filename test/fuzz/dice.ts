/*
 * The fuzzer's random numbers: an input is determined by one seed.
 */

/** Numbers at which something breaks: around zero, and where a type or a limit ends. */
const EDGES: readonly number[] = [
  ...[0, 1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 33, 63, 64, 100, 127, 128, 255, 256, 1000, 4096],
  ...[2 ** 15, 2 ** 16 - 1, 2 ** 16, 20_001, 2 ** 20, 2 ** 24, 2 ** 29, 2 ** 30, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1],
  ...[2 ** 32, 2 ** 40, 2 ** 52, 2 ** 53 - 1, 2 ** 53, -1, -2, -128, -(2 ** 31), -(2 ** 53)],
];
const NUMBERS: readonly number[] = [...EDGES, 0.5, 1e-6, 1e-45, 1e300, -0];

export class Dice {
  private state: number;

  constructor(seed: number) {
    // seeds that follow each other must not give inputs that do
    this.state = Math.imul(seed ^ 0x5bd1e995, 0x9e3779b1) ^ Math.floor(seed / 2 ** 32);
  }

  /** A whole number from 0 to 2^32 - 1 (splitmix32). */
  next(): number {
    this.state = (this.state + 0x9e3779b9) | 0;
    let z = this.state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  /** A whole number from 0 to n - 1. */
  below(n: number): number {
    return this.next() % n;
  }

  chance(probability: number): boolean {
    return this.next() < probability * 2 ** 32;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }

  /** A whole number at which something may break. */
  whole(): number {
    return this.chance(0.7) ? this.pick(EDGES) : this.chance(0.5) ? this.below(300) : this.next();
  }

  number(): number {
    return this.chance(0.8) ? this.whole() : this.pick(NUMBERS);
  }

  /** Text that a file may hold: names that mean something, and what no name should be. */
  text(): string {
    if (this.chance(0.2))
      return String.fromCharCode(...Array.from({ length: this.below(6) }, () => this.below(0x10000)));
    return this.pick(TEXTS);
  }
}

const TEXTS: readonly string[] = [
  ...["", " ", "\u2581", "a", "ab", "\u2581a", "é", "\u{1f600}", "<s>", "</s>", "<unk>", "<0x41>", "<0x-1>", "<0xZZ>"],
  ...["__proto__", "constructor", "toString", "hasOwnProperty", "\0", "\u001b[2J", "\ud800", "../x", "/etc/passwd"],
  ...["https://a.example/x", "x".repeat(300), "llama", "F32", "F16", "BF16", "I8", "true", "1", "1e3", "NaN", "null"],
];
