"""
Random checkpoints with the full shapes of real models, in their original file formats, for tests:

    python3 bench/full-shape.py llama-2-7b FOLDER     Meta's: params.json, consolidated.00.pth (13.5 GB, float16)
    python3 bench/full-shape.py open_llama_3b FOLDER  Hugging Face's: config.json, pytorch_model.bin (6.9 GB, float16)

Needs PyTorch, whose torch.save writes them, and twice the space. Copy a tokenizer.model beside them.
"""
import json
import os
import sys

import numpy
import torch

SHAPES = {
    "llama-2-7b": dict(dim=4096, hidden=11008, layers=32, heads=32, vocab=32000),
    "open_llama_3b": dict(dim=3200, hidden=8640, layers=26, heads=32, vocab=32000),
}


def meta(dim, hidden, layers, heads, vocab):
    params = {"dim": dim, "multiple_of": 256, "n_heads": heads, "n_layers": layers, "norm_eps": 1e-5, "vocab_size": -1}
    shapes = {"tok_embeddings.weight": (vocab, dim), "norm.weight": (dim,), "output.weight": (vocab, dim)}
    for layer in range(layers):
        p = f"layers.{layer}."
        shapes |= {f"{p}attention.{w}.weight": (dim, dim) for w in ("wq", "wk", "wv", "wo")}
        shapes |= {f"{p}feed_forward.{w}.weight": (hidden, dim) for w in ("w1", "w3")}
        shapes |= {f"{p}feed_forward.w2.weight": (dim, hidden)}
        shapes |= {f"{p}{norm}.weight": (dim,) for norm in ("attention_norm", "ffn_norm")}
    return "params.json", params, "consolidated.00.pth", shapes


def hugging_face(dim, hidden, layers, heads, vocab):
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": dim,
        "intermediate_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads, "vocab_size": vocab,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "bos_token_id": 1, "eos_token_id": 2,
        "tie_word_embeddings": False, "torch_dtype": "float16",
    }
    shapes = {"model.embed_tokens.weight": (vocab, dim), "model.norm.weight": (dim,), "lm_head.weight": (vocab, dim)}
    for layer in range(layers):
        p = f"model.layers.{layer}."
        shapes |= {f"{p}self_attn.{w}_proj.weight": (dim, dim) for w in "qkvo"}
        shapes |= {f"{p}mlp.{w}_proj.weight": (hidden, dim) for w in ("gate", "up")}
        shapes |= {f"{p}mlp.down_proj.weight": (dim, hidden)}
        shapes |= {f"{p}{norm}_layernorm.weight": (dim,) for norm in ("input", "post_attention")}
    return "config.json", config, "pytorch_model.bin", shapes


def main(model, folder):
    os.makedirs(folder, exist_ok=True)
    describe = meta if model == "llama-2-7b" else hugging_face
    name, config, weights, shapes = describe(**SHAPES[model])
    with open(os.path.join(folder, name), "w") as file:
        json.dump(config, file)
    # the matrices are parts of a file of random numbers that is not in memory
    torch.manual_seed(1)
    block = (torch.randn(8 * 2**20 + 12345) * 0.02).half().numpy().tobytes()
    left = 2 * sum(shape[0] * shape[1] for shape in shapes.values() if len(shape) == 2)
    raw = os.path.join(folder, "random.tmp")
    with open(raw, "wb") as file:
        while left > 0:
            file.write(block[:left])
            left -= len(block)
    state, at = {}, 0
    for tensor, shape in shapes.items():
        if len(shape) == 1:
            state[tensor] = torch.ones(shape, dtype=torch.float16)
            continue
        count = shape[0] * shape[1]
        part = numpy.memmap(raw, numpy.float16, "r+", offset=at - at % 4096, shape=(count,))
        state[tensor] = torch.from_numpy(part).view(shape)
        at += 2 * count
    torch.save(state, os.path.join(folder, weights))
    os.remove(raw)


main(*sys.argv[1:3])
