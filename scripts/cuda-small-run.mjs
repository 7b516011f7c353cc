// A model of a small random shape with random weights, and everything that can be asked of it: commands for
// native/cuda/test/driver.cpp, which say at which byte of `numbers` a tensor lies.

/** mulberry32 */
function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * @param {number} seed
 * @param {boolean} large with so many tokens that the sampler shares their sum among many threads; too slow for sanitizers
 * @returns {{ commands: string, numbers: Uint8Array }} the same for the same seed
 */
export function smallRun(seed, large = false) {
  const random = randomFrom(seed);
  const uniform = (least, most) => least + Math.floor(random() * (most - least + 1));
  const parts = [];
  let size = 0;
  const put = (count) => {
    const values = Float32Array.from({ length: Math.ceil(count / 4) * 4 }, () => random() - 0.5);
    parts.push(new Uint8Array(values.buffer));
    size += values.byteLength;
    return size - values.byteLength;
  };

  const nKvHeads = uniform(1, 3);
  const nHeads = nKvHeads * uniform(1, 2);
  const headSize = 2 * uniform(1, 8);
  const dim = nHeads * headSize;
  const hidden = seed % 4 === 0 ? uniform(1030, 1100) : uniform(2, 40); // more than one tile of columns, now and then
  const [layers, vocab, seq] = [uniform(1, 2), large ? 32000 : uniform(2, 90), uniform(6, 80)];
  const precision = seed % 3;
  const kvDim = headSize * nKvHeads;
  const angles = seq * (headSize / 2);
  const shape = `${dim} ${hidden} ${layers} ${nHeads} ${nKvHeads} ${vocab} ${seq} 1e-5 0`;
  const commands = [`model ${shape} ${precision} ${precision === 2 ? 2 : 0} ${seed % 2} ${put(angles)} ${put(angles)}`];
  const fill = (name, count, n) => {
    for (let l = 0; l < count; l++) commands.push(`fill ${name} ${l} ${n} ${put(n)}`);
  };
  fill("tokenEmbeddingTable", 1, vocab * dim);
  fill("wcls", 1, vocab * dim);
  for (const name of ["rmsAttWeight", "rmsFfnWeight"]) fill(name, layers, dim);
  fill("rmsFinalWeight", 1, dim);
  for (const name of ["wq", "wo"]) fill(name, layers, dim * dim);
  for (const name of ["wk", "wv"]) fill(name, layers, kvDim * dim);
  for (const name of ["w1", "w2", "w3"]) fill(name, layers, hidden * dim);

  const token = () => uniform(0, vocab - 1);
  commands.push("context 3");
  commands.push(`forward 4 4 ${[0, 1, 2, 3].map((pos) => `${token()} ${pos} 0`).join(" ")}`);
  commands.push(`forward 1 3 ${[0, 1, 2].map((slot) => `${token()} ${slot === 0 ? 4 : 0} ${slot}`).join(" ")}`);
  commands.push(`decode 3 1 ${token()} 5 0 0 0 1 -1`);
  commands.push(`decode 4 2 ${token()} 1 1 1 0.9 7 -1 ${token()} 1 2 0.8 1 9 ${token()}`);
  // no token likely, so that a sum that is a little off is another token
  if (large) commands.push(`sample 8 0.5 1 ${seed} ${put(8 * vocab)}`, `sample 4 0.2 0.9 ${seed} ${put(4 * vocab)}`);
  return { commands: `${commands.join("\n")}\n`, numbers: Buffer.concat(parts) };
}
