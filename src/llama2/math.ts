/*
 * float32 arithmetic, exactly as C does it.
 *
 * JavaScript computes in float64. Three facts make float32 out of that:
 *
 * 1. `f32(a + b)`, `f32(a * b)`, `f32(a / b)` and `f32(Math.sqrt(a))` of float32 values are exactly C's
 *    float operations: float64 has more than twice the digits, so rounding twice rounds right.
 * 2. Storing into a Float32Array rounds as well: `x[i] = a + b` needs no `f32`, `x[i] = a + b * c` does,
 *    around the product, because C rounds after *every* operation.
 * 3. `Math.exp`, `Math.sin` and `Math.cos` are not C's expf, sinf and cosf, not even after rounding. Since
 *    version 2.28 glibc evaluates short polynomials in float64 and rounds once at the end. They are public
 *    (ARM's Optimized Routines, MIT), and float64 is what JavaScript has, so the functions below return
 *    exactly glibc's bits.
 */

/** Round to float32. `f32(a * b)` reads "a times b, as a C float". */
export const f32 = Math.fround;

// ----------------------------------------------------------------------------
// 2 to the power of k/32: the one table behind expf and powf

/** 2^(i/32) for i = 0..31, as bit patterns: `Math.pow` misses four of them by an ulp. */
const EXP2_32NDS_BITS = `
  3ff0000000000000 3ff059b0d3158574 3ff0b5586cf9890f 3ff11301d0125b51
  3ff172b83c7d517b 3ff1d4873168b9aa 3ff2387a6e756238 3ff29e9df51fdee1
  3ff306fe0a31b715 3ff371a7373aa9cb 3ff3dea64c123422 3ff44e086061892d
  3ff4bfdad5362a27 3ff5342b569d4f82 3ff5ab07dd485429 3ff6247eb03a5585
  3ff6a09e667f3bcd 3ff71f75e8ec5f74 3ff7a11473eb0187 3ff82589994cce13
  3ff8ace5422aa0db 3ff93737b0cdc5e5 3ff9c49182a3f090 3ffa5503b23e255d
  3ffae89f995ad3ad 3ffb7f76f2fb5e47 3ffc199bdd85529c 3ffcb720dcef9069
  3ffd5818dcfba487 3ffdfc97337b9b5f 3ffea4afa2a490da 3fff50765b6e4540`;
export const EXP2_32NDS = new Float64Array(
  BigUint64Array.from(EXP2_32NDS_BITS.trim().split(/\s+/), (bits) => BigInt(`0x${bits}`)).buffer,
);

/** 2^e for the whole exponents a float32 result can have, e = -160..130. */
const EXP2_WHOLE = Float64Array.from({ length: 291 }, (_, i) => 2 ** (i - 160));

/** (C0 r + C1) r^2 + (C2 r + 1) is 2^r for |r| <= 1/64, to float32's precision and some more. */
const C0 = 0.05550361559341535; // 0x1.c6af84b912394p-5
const C1 = 0.2402284522445722; // 0x1.ebfce50fac4f3p-3
const C2 = 0.6931471806916203; // 0x1.62e42ff0c52d6p-1

/** Adding and subtracting 1.5 * 2^52 rounds a float64 to a whole number, ties to even. */
const ROUND = 6755399441055744;

/** C's `roundf`: the nearest whole number, halves away from zero. (JavaScript's Math.round takes halves up.) */
export function roundf(x: number): number {
  return Math.trunc(x + Math.sign(x) / 2);
}

/** C's `rintf`: the nearest whole number, halves to the even one. For |x| < 2^51; a zero has no sign. */
export function rintf(x: number): number {
  return x + ROUND - ROUND;
}

/** The same polynomial for r counted in 32nds: exact, since 32 is a power of two. */
const C0_32NDS = C0 / 32 ** 3;
const C1_32NDS = C1 / 32 ** 2;
const C2_32NDS = C2 / 32;
const INV_LN2_32 = 32 / Math.LN2;

/** C's `expf`: e^x in float32. */
export function expf(x: number): number {
  if (x > 88.72283172607422) return Infinity;
  if (x < -103.97207641601562) return 0;
  if (x !== x) return x;
  // e^x = 2^(z/32) = 2^whole * 2^(k/32) * 2^(r/32), with r in [-1/2, 1/2]
  const z = INV_LN2_32 * x;
  const k = z + ROUND - ROUND;
  const r = z - k;
  const scale = EXP2_32NDS[k & 31] * EXP2_WHOLE[(k >> 5) + 160];
  const p = C0_32NDS * r + C1_32NDS;
  return f32((p * (r * r) + (C2_32NDS * r + 1)) * scale);
}

/**
 * C's `powf` for 0 < x and a result a float32 can hold. The transformer needs it for RoPE's frequencies only;
 * checked against glibc at x = 10000 for every frequency of head sizes up to 256.
 */
export function powf(x: number, y: number): number {
  const z = y * Math.log2(x);
  const k = z * 32 + ROUND - ROUND;
  const r = z - k / 32;
  const scale = EXP2_32NDS[k & 31] * EXP2_WHOLE[(k >> 5) + 160];
  const p = C0 * r + C1;
  return f32((p * (r * r) + (C2 * r + 1)) * scale);
}

// ----------------------------------------------------------------------------
// sine and cosine

/** Where an angle lies: `quadrant` quarter turns and `x`, the rest, in [-pi/4, pi/4]. */
interface Angle {
  x: number;
  quadrant: number;
}

const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);

/** The first 192 bits of 4/pi. */
const FOUR_OVER_PI = 0xa2f9836e4e441529fc2757d1f534ddc0db6295993c439041n;
const HALF_PI = 1.5707963267948966; // 0x1.921fb54442d18p0
const QUARTERS_Q24 = 10680707.430881744; // 2/pi * 2^24
const PI_Q63 = 3.4061215800865545e-19; // pi * 2^-63

/** Reduce y, a float32, by whole quarter turns. */
function reduce(y: number): Angle {
  const magnitude = Math.abs(y);
  if (magnitude < 0.75) return { x: y, quadrant: 0 };
  if (magnitude < 120) {
    // round to the nearest quarter turn in 24-bit fixed point, as glibc does
    const quadrant = (Math.trunc(y * QUARTERS_Q24) + 0x800000) >> 24;
    return { x: y - quadrant * HALF_PI, quadrant };
  }
  // Far out, y * 2/pi needs more digits than a float64 has. Multiply y's 24 bits by those 96 bits of 4/pi
  // which decide the quadrant and the 62 bits below it; the bits above them are whole turns and are dropped.
  float[0] = magnitude;
  const exponent = bits[0] >>> 23;
  const mantissa = BigInt(((bits[0] & 0x7fffff) | 0x800000) << (exponent & 7)) & 0xffffffffn;
  const window = BigInt.asUintN(96, FOUR_OVER_PI >> BigInt(8 * (15 - ((exponent >> 3) & 15))));
  const turns = BigInt.asUintN(64, (mantissa * window) >> 32n);
  const quadrant = BigInt.asUintN(64, turns + (1n << 61n)) >> 62n;
  const x = Number(BigInt.asIntN(64, turns - (quadrant << 62n))) * PI_Q63;
  return y < 0 ? { x: -x, quadrant: -Number(quadrant) } : { x, quadrant: Number(quadrant) };
}

/** sin(x) for x in [-pi/4, pi/4]. */
function sinQuarter(x: number): number {
  const x2 = x * x;
  const x3 = x * x2;
  const high = 0.008332178146138854 + x2 * -0.00019517298981385725;
  return x + x3 * -0.16666654943701084 + x3 * x2 * high;
}

/** cos(x) for x in [-pi/4, pi/4]. */
function cosQuarter(x: number): number {
  const x2 = x * x;
  const x4 = x2 * x2;
  const low = 1 + x2 * -0.49999999725108224;
  const high = -0.001388676379437604 + x2 * 2.4390450703564542e-5;
  return low + x4 * 0.041666623324344516 + x4 * x2 * high;
}

/** C's `sinf`: the sine of a float32 y, in float32. */
export function sinf(y: number): number {
  if (Math.abs(y) < 2 ** -12) return y;
  if (!Number.isFinite(y)) return NaN;
  return quarterTurns(reduce(y), 0);
}

/** C's `cosf`: the cosine of a float32 y, in float32. */
export function cosf(y: number): number {
  if (Math.abs(y) < 2 ** -12) return 1;
  if (!Number.isFinite(y)) return NaN;
  return quarterTurns(reduce(y), 1);
}

/** sin(x + (quadrant + ahead) quarter turns), in float32. */
function quarterTurns({ x, quadrant }: Angle, ahead: 0 | 1): number {
  switch ((quadrant + ahead) & 3) {
    case 0:
      return f32(sinQuarter(x));
    case 1:
      return f32(cosQuarter(x));
    case 2:
      return f32(-sinQuarter(x));
    default:
      return f32(-cosQuarter(x));
  }
}
