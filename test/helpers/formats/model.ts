/*
 * A seeded model, as a version-0 checkpoint and as tensors under the names of other programs.
 */
import { makeCheckpoint, type Shape } from "../checkpoint.ts";
import { rounded, type TensorToWrite } from "./numbers.ts";

/** Meta's, Hugging Face's and GGUF's names of run.c's tensors, written down a second time. */
const NAMES = {
  meta: {
    layer: "layers.#.",
    names:
      "tok_embeddings attention_norm attention.wq attention.wk attention.wv attention.wo ffn_norm feed_forward.w1 feed_forward.w2 feed_forward.w3 norm output",
  },
  hf: {
    layer: "model.layers.#.",
    names:
      "model.embed_tokens input_layernorm self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj post_attention_layernorm mlp.gate_proj mlp.down_proj mlp.up_proj model.norm lm_head",
  },
  gguf: {
    layer: "blk.#.",
    names: "token_embd attn_norm attn_q attn_k attn_v attn_output ffn_norm ffn_gate ffn_down ffn_up output_norm output",
  },
} as const;
export type Naming = keyof typeof NAMES;

export interface SeededModel {
  shape: Shape;
  untied: boolean;
  /** The version-0 checkpoint of the same numbers, with RoPE tables of zeros. */
  checkpoint: Uint8Array;
  /** The tensors in run.c's order of rows, of one type but for the norms. */
  tensors: TensorToWrite[];
}

/** A seeded model whose matrices are stored in `type`, and whose norms in `norms`. */
export function seededModel(
  shape: Shape,
  naming: Naming,
  type: TensorToWrite["type"],
  {
    seed = 1,
    untied = true,
    norms = type === "Q8_0" ? "F32" : type,
  }: { seed?: number; untied?: boolean; norms?: TensorToWrite["type"] } = {},
): SeededModel {
  const checkpoint = makeCheckpoint(shape, { seed, untied });
  const [dim, hidden, layers, heads, kvHeads, vocab, seqLen] = shape;
  const kvDim = (dim / heads) * kvHeads;
  const tensors: TensorToWrite[] = [];
  const { layer: prefix, names } = NAMES[naming];
  const [embed, attNorm, wq, wk, wv, wo, ffnNorm, w1, w2, w3, finalNorm, output] = names.split(" ");
  let at = 28;
  const take = (name: string, times: number, dims: readonly number[]) => {
    for (let i = 0; i < times; i++) {
      const count = dims.reduce((product, size) => product * size, 1);
      const values = new Float32Array(checkpoint.buffer, at, count);
      const own = dims.length === 1 ? norms : type;
      values.set(rounded(own, values));
      const full =
        (times === layers && name !== embed && name !== finalNorm && name !== output
          ? prefix.replace("#", `${i}`)
          : "") + name;
      tensors.push({ name: `${full}.weight`, type: own, shape: dims, values: values.slice() });
      at += 4 * count;
    }
  };
  take(embed, 1, [vocab, dim]);
  take(attNorm, layers, [dim]);
  take(wq, layers, [dim, dim]);
  take(wk, layers, [kvDim, dim]);
  take(wv, layers, [kvDim, dim]);
  take(wo, layers, [dim, dim]);
  take(ffnNorm, layers, [dim]);
  take(w1, layers, [hidden, dim]);
  take(w2, layers, [dim, hidden]);
  take(w3, layers, [hidden, dim]);
  take(finalNorm, 1, [dim]);
  at += 4 * seqLen * (dim / heads);
  if (untied) take(output, 1, [vocab, dim]);
  return { shape, untied, checkpoint, tensors };
}

/** Hugging Face's order of the rows of q and k: of each head first those of even, then those of odd number. */
export function halfSplit(tensor: TensorToWrite, heads: number): TensorToWrite {
  const [d, n] = tensor.shape;
  const headSize = d / heads;
  const values = new Float32Array(d * n);
  for (let row = 0; row < d; row++) {
    const head = Math.floor(row / headSize);
    const inHead = row % headSize;
    const to = head * headSize + (inHead % 2 === 0 ? inHead / 2 : headSize / 2 + (inHead - 1) / 2);
    values.set(tensor.values.subarray(row * n, (row + 1) * n), to * n);
  }
  return { ...tensor, values };
}

/** The tensors of a model as Hugging Face has them. */
export function huggingFaceTensors({ tensors, shape }: SeededModel): TensorToWrite[] {
  const [, , , heads, kvHeads] = shape;
  return tensors.map((tensor) =>
    /q_proj/.test(tensor.name)
      ? halfSplit(tensor, heads)
      : /k_proj/.test(tensor.name)
        ? halfSplit(tensor, kvHeads)
        : tensor,
  );
}

/** Its config.json. */
export function huggingFaceConfig({ shape, untied }: SeededModel, changes: object = {}): string {
  const [dim, hidden, layers, heads, kvHeads, vocab, seqLen] = shape;
  return JSON.stringify({
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_act: "silu",
    hidden_size: dim,
    intermediate_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    vocab_size: vocab,
    max_position_embeddings: seqLen,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: !untied,
    ...changes,
  });
}
