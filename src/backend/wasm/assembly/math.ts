/*
 * float32 arithmetic, exactly as C does it. WebAssembly's f32 and f32x4 round as C's float; only expf is missing.
 */
import { exp2 } from "./model";

/** Adding and subtracting 1.5 * 2^52 rounds a float64 to a whole number, ties to even. */
const ROUND: f64 = 6755399441055744;

/**
 * (C0 r + C1) r^2 + (C2 r + 1) is 2^(r/32) for |r| <= 1/2, to float32's precision and some more. The coefficients are
 * those of llama2/math.ts for 2^r, over powers of 32, which is exact.
 */
const C0: f64 = 0.05550361559341535 / (32 * 32 * 32); // 0x1.c6af84b912394p-5 / 32^3
const C1: f64 = 0.2402284522445722 / (32 * 32); // 0x1.ebfce50fac4f3p-3 / 32^2
const C2: f64 = 0.6931471806916203 / 32; // 0x1.62e42ff0c52d6p-1 / 32
const INV_LN2_32: f64 = 32 / Math.LN2;

/** C's `expf` of four float32 numbers: `expf` of llama2/math.ts, in lanes. */
export function expf(x: v128): v128 {
  // beyond these bounds e^x rounds to infinity or 0; without them the exponent would overflow
  const bounded = f32x4.max(f32x4.min(x, f32x4.splat(89)), f32x4.splat(-104));
  const low = expTwo(f64x2.promote_low_f32x4(bounded));
  const high = expTwo(f64x2.promote_low_f32x4(i64x2.shuffle(bounded, bounded, 1, 0)));
  return i64x2.shuffle(low, high, 0, 2);
}

/** e^x of two float64 numbers, rounded to float32, in the low half. */
function expTwo(x: v128): v128 {
  // e^x = 2^(z/32) = 2^whole * 2^(k/32) * 2^(r/32), with r in [-1/2, 1/2]
  const z = f64x2.mul(f64x2.splat(INV_LN2_32), x);
  const rounded = f64x2.add(z, f64x2.splat(ROUND)); // its lowest bits are the whole number k
  const r = f64x2.sub(z, f64x2.sub(rounded, f64x2.splat(ROUND)));

  // k << 47 puts k's upper bits, the whole powers of two, into the exponent, and the lower five below it: those
  // which the table's entry lacks
  const table = i64x2.replace_lane(
    i64x2.splat(load<i64>(exp2 + ((i32x4.extract_lane(rounded, 0) & 31) << 3))),
    1,
    load<i64>(exp2 + ((i32x4.extract_lane(rounded, 2) & 31) << 3)),
  );
  const scale = i64x2.add(table, i64x2.shl(rounded, 47));

  const p = f64x2.add(f64x2.mul(f64x2.splat(C0), r), f64x2.splat(C1));
  const low = f64x2.add(f64x2.mul(f64x2.splat(C2), r), f64x2.splat(1));
  const y = f64x2.mul(f64x2.add(f64x2.mul(p, f64x2.mul(r, r)), low), scale);
  return f32x4.demote_f64x2_zero(y);
}
