/*
 * The names of a Llama model's tensors in other formats. `#` stands for the layer.
 */
import type { TensorName } from "../llama2/weights.ts";

export interface Convention {
  names: Record<TensorName, string>;
  /** Tensors that are computed here instead of being read. */
  ignored: RegExp;
  /** In q and k the first numbers of all RoPE pairs come before the second ones. */
  halfSplit: boolean;
}

/** Meta's models and llama2.c's training. */
export const META: Convention = {
  names: {
    tokenEmbeddingTable: "tok_embeddings.weight",
    rmsAttWeight: "layers.#.attention_norm.weight",
    rmsFfnWeight: "layers.#.ffn_norm.weight",
    wq: "layers.#.attention.wq.weight",
    wk: "layers.#.attention.wk.weight",
    wv: "layers.#.attention.wv.weight",
    wo: "layers.#.attention.wo.weight",
    w1: "layers.#.feed_forward.w1.weight",
    w2: "layers.#.feed_forward.w2.weight",
    w3: "layers.#.feed_forward.w3.weight",
    rmsFinalWeight: "norm.weight",
    wcls: "output.weight",
  },
  ignored: /^(rope\.freqs|freqs_cos|freqs_sin|layers\.\d+\.attention\.inner_attention\.rope\.freqs)$/,
  halfSplit: false,
};

export const HUGGING_FACE: Convention = {
  names: {
    tokenEmbeddingTable: "model.embed_tokens.weight",
    rmsAttWeight: "model.layers.#.input_layernorm.weight",
    rmsFfnWeight: "model.layers.#.post_attention_layernorm.weight",
    wq: "model.layers.#.self_attn.q_proj.weight",
    wk: "model.layers.#.self_attn.k_proj.weight",
    wv: "model.layers.#.self_attn.v_proj.weight",
    wo: "model.layers.#.self_attn.o_proj.weight",
    w1: "model.layers.#.mlp.gate_proj.weight",
    w2: "model.layers.#.mlp.down_proj.weight",
    w3: "model.layers.#.mlp.up_proj.weight",
    rmsFinalWeight: "model.norm.weight",
    wcls: "lm_head.weight",
  },
  ignored: /^model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq$/,
  halfSplit: true,
};

export const GGUF: Convention = {
  names: {
    tokenEmbeddingTable: "token_embd.weight",
    rmsAttWeight: "blk.#.attn_norm.weight",
    rmsFfnWeight: "blk.#.ffn_norm.weight",
    wq: "blk.#.attn_q.weight",
    wk: "blk.#.attn_k.weight",
    wv: "blk.#.attn_v.weight",
    wo: "blk.#.attn_output.weight",
    w1: "blk.#.ffn_gate.weight",
    w2: "blk.#.ffn_down.weight",
    w3: "blk.#.ffn_up.weight",
    rmsFinalWeight: "output_norm.weight",
    wcls: "output.weight",
  },
  ignored: /^blk\.\d+\.attn_rot_embd$/,
  halfSplit: false,
};

/** The name of a layer's tensor in the file. */
export const nameOf = ({ names }: Convention, name: TensorName, layer: number): string =>
  names[name].replace("#", String(layer));
