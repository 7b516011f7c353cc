/*
 * The angles by which RoPE turns, and their sine and cosine: `ropeAngles` of llama2/transformer.ts, `sinf` and `cosf` of
 * llama2/math.ts, which are glibc's, step for step.
 */
import { fci, fcr, frequencies, headSizeOf } from "./model";

/** The cosines and sines of the angles that an entry at position `pos` has: (headSize / 2) each. */
export function ropeAngles(entry: i32, pos: i32): void {
  const pairs = headSizeOf() / 2;
  for (let i = 0; i < pairs; i++) {
    const val = <f32>pos * load<f32>(frequencies + (i << 2));
    const at = (<usize>(entry * pairs + i)) << 2;
    store<f32>(fcr + at, quarterTurns(val, 1));
    store<f32>(fci + at, quarterTurns(val, 0));
  }
}

/** The cosine (ahead = 1) or sine (ahead = 0) of y, which is neither negative nor infinite. */
function quarterTurns(y: f32, ahead: i32): f32 {
  if (y < 0.000244140625) return ahead === 1 ? 1 : y;
  // y is a number of quarter turns plus x, in [-pi/4, pi/4]
  let quadrant: i32 = 0;
  let x: f64 = y;
  if (y >= 120) {
    const turns = fractionOfTurns(y);
    const quarters = (turns + ((<u64>1) << 61)) >> 62;
    x = <f64>(<i64>(turns - (quarters << 62))) * 3.4061215800865545e-19;
    quadrant = <i32>quarters;
  } else if (y >= 0.75) {
    // round to the nearest quarter turn in 24-bit fixed point, as glibc does
    quadrant = (<i32>(<f64>y * 10680707.430881744) + 0x800000) >> 24;
    x = <f64>y - <f64>quadrant * 1.5707963267948966;
  }
  quadrant = (quadrant + ahead) & 3;
  const turned = (quadrant & 1) === 0 ? sinQuarter(x) : cosQuarter(x);
  return <f32>(quadrant < 2 ? turned : -turned);
}

/**
 * How far y, at least 120, is into a turn, in 64 bits. y * 2/pi needs more digits than a float64 has. So y's 24 bits are
 * multiplied by those 96 bits of 4/pi which decide the quadrant and the 62 bits below it; the bits above them are whole
 * turns and are dropped.
 */
function fractionOfTurns(y: f32): u64 {
  const bits = reinterpret<u32>(y);
  const exponent = bits >> 23;
  const mantissa = <u64>(<u32>(((bits & 0x7fffff) | 0x800000) << (exponent & 7)));
  const from = <i32>((exponent >> 3) & 15);
  const high = (mantissa * fourOverPi(from)) << 32;
  return high + mantissa * fourOverPi(from + 4) + ((mantissa * fourOverPi(from + 8)) >> 32);
}

/** Four bytes of 4/pi from byte `at` on, after the three zeros in front of it. */
function fourOverPi(at: i32): u64 {
  const shift = <u64>((at & 7) << 3);
  const eight = eightOfFourOverPi(at >> 3) << shift;
  return (shift === 0 ? eight : eight | (eightOfFourOverPi((at >> 3) + 1) >> (64 - shift))) >> 32;
}

function eightOfFourOverPi(i: i32): u64 {
  if (i === 0) return 0xa2f9836e4e;
  if (i === 1) return 0x441529fc2757d1f5;
  if (i === 2) return 0x34ddc0db6295993c;
  return 0x4390410000000000;
}

/** sin(x) for x in [-pi/4, pi/4]. */
function sinQuarter(x: f64): f64 {
  const x2 = x * x;
  const x3 = x * x2;
  const high = 0.008332178146138854 + x2 * -0.00019517298981385725;
  return x + x3 * -0.16666654943701084 + x3 * x2 * high;
}

/** cos(x) for x in [-pi/4, pi/4]. */
function cosQuarter(x: f64): f64 {
  const x2 = x * x;
  const x4 = x2 * x2;
  const low = 1 + x2 * -0.49999999725108224;
  const high = -0.001388676379437604 + x2 * 2.4390450703564542e-5;
  return low + x4 * 0.041666623324344516 + x4 * x2 * high;
}
