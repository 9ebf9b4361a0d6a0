#!/usr/bin/env python3
"""conversions.py - models of tests/goldens written as GGUF files, and as the first Qwen's, through run-golden. TAP."""
import json, math, os, shutil, struct, subprocess, sys, tempfile

GOLDENS = os.path.join(os.environ.get("top_srcdir", "."), "tests/goldens")
RUN = os.path.join(os.environ.get("top_builddir", "."), "tests/run-golden")


def load(case):
    """name -> (shape, values) of a case's weights, and its configuration."""
    with open(os.path.join(GOLDENS, case, "model.safetensors"), "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[name] = (entry["shape"], struct.unpack("<%df" % ((end - begin) // 4), data[begin:end]))
    with open(os.path.join(GOLDENS, case, "config.json")) as file:
        return tensors, json.load(file)


def save_safetensors(path, tensors):
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        raw = struct.pack("<%df" % len(values), *values)
        header[name] = dict(dtype="F32", shape=shape, data_offsets=[len(data), len(data) + len(raw)])
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def value(v):
    if isinstance(v, bool):
        return struct.pack("<I?", 7, v)
    if isinstance(v, int):
        return struct.pack("<II", 4, v)
    return struct.pack("<If", 6, v) if isinstance(v, float) else struct.pack("<I", 8) + text(v)


def save_gguf(path, arch, values, tensors):
    head = text("general.architecture") + value(arch)
    for key, v in values.items():
        head += text(arch + "." + key) + value(v)
    data = b""
    for name, (shape, numbers) in tensors.items():
        head += text(name) + struct.pack("<I%dQIQ" % len(shape), len(shape), *reversed(shape), 0, len(data))
        data += struct.pack("<%df" % len(numbers), *numbers)
        data += bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 1 + len(values)) + head
    with open(path, "wb") as file:
        file.write(head + bytes(-len(head) % 32) + data)


def rows(*tensors):
    """One matrix of several, one below the other."""
    return [sum(t[0][0] for t in tensors)] + tensors[0][0][1:], sum((tuple(t[1]) for t in tensors), ())


def renamed(tensors, layers, outer, inner, of, to):
    """The tensors by other names: outer and inner map what stands before ".weight", inner within of % layer to to % layer."""
    out = {b + ".weight": tensors[a + ".weight"] for a, b in outer.items()}
    for i in range(layers):
        for a, b in inner.items():
            if of % i + a + ".weight" in tensors:
                out[to % i + b + ".weight"] = tensors[of % i + a + ".weight"]
    return out


LLAMA = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def sizes(config):
    return {"block_count": config["num_hidden_layers"], "embedding_length": config["hidden_size"],
            "feed_forward_length": config["intermediate_size"], "attention.head_count": config["num_attention_heads"],
            "context_length": config["max_position_embeddings"], "attention.layer_norm_rms_epsilon": config["rms_norm_eps"]}


def cut(tensor, parts):
    """The parts of a matrix, as many rows in each."""
    (rows, cols), values = tensor
    n = rows // parts
    return [([n, cols], values[i * n * cols:(i + 1) * n * cols]) for i in range(parts)]


def qwen(folder):
    tensors, config = load("dec_phi3")
    layers, dim = config["num_hidden_layers"], config["hidden_size"]
    inner = {"ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.w2": "ffn_gate",
             "mlp.w1": "ffn_up", "mlp.c_proj": "ffn_down"}
    g = renamed(tensors, layers, OUTER, LLAMA, "model.layers.%d.", "blk.%d.")
    for i in range(layers):
        g["blk.%d.attn_qkv.weight" % i] = tensors["model.layers.%d.self_attn.qkv_proj.weight" % i]
        g["blk.%d.ffn_gate.weight" % i], g["blk.%d.ffn_up.weight" % i] = cut(tensors["model.layers.%d.mlp.gate_up_proj.weight" % i], 2)
        g["blk.%d.attn_qkv.bias" % i] = ([3 * dim], (0.0,) * (3 * dim))
    hf = renamed(g, layers, {"token_embd": "transformer.wte", "output_norm": "transformer.ln_f", "output": "lm_head"},
                 {b: a for a, b in inner.items()}, "blk.%d.", "transformer.h.%d.")
    for i in range(layers):
        hf["transformer.h.%d.attn.c_attn.bias" % i] = g["blk.%d.attn_qkv.bias" % i]
    save_safetensors(folder + "/model.safetensors", hf)
    with open(folder + "/config.json", "w") as file:
        json.dump(dict(model_type="qwen", architectures=["QWenLMHeadModel"], hidden_size=dim, num_hidden_layers=layers,
                       num_attention_heads=config["num_attention_heads"], kv_channels=dim // config["num_attention_heads"],
                       intermediate_size=2 * config["intermediate_size"], layer_norm_epsilon=config["rms_norm_eps"],
                       rotary_emb_base=10000, seq_length=256, vocab_size=config["vocab_size"], no_bias=True), file)
    values = dict(sizes(config), feed_forward_length=2 * config["intermediate_size"])
    save_gguf(folder + "/model-f32.gguf", "qwen", dict(values, **{"rope.freq_base": 10000.0}), g)


def deepseek(folder, split):
    tensors, config = load("dec_deepseek_v2")
    heads, plain, rope = config["num_attention_heads"], config["qk_nope_head_dim"], config["qk_rope_head_dim"]
    v, rank, layers = config["v_head_dim"], config["kv_lora_rank"], config["num_hidden_layers"]
    inner = dict(LLAMA, **{"self_attn.q_proj": "attn_q", "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa", "mlp.gate": "ffn_gate_inp",
                           "self_attn.kv_a_layernorm": "attn_kv_a_norm", "self_attn.kv_b_proj": "attn_kv_b"})
    inner.update({"mlp.shared_experts.%s_proj" % x: "ffn_%s_shexp" % x for x in ("gate", "up", "down")})
    g = renamed(tensors, layers, OUTER, inner, "model.layers.%d.", "blk.%d.")
    for i in range(layers):
        for x in ("gate", "up", "down"):
            all = [tensors.get("model.layers.%d.mlp.experts.%d.%s_proj.weight" % (i, e, x)) for e in range(config["n_routed_experts"])]
            if all[0]:
                g["blk.%d.ffn_%s_exps.weight" % (i, x)] = ([len(all)] + all[0][0], rows(*all)[1])
        if split:
            w = g.pop("blk.%d.attn_kv_b.weight" % i)[1]
            at = [h * (plain + v) * rank for h in range(heads)]
            g["blk.%d.attn_k_b.weight" % i] = ([heads, rank, plain],
                                               [w[a + n * rank + r] for a in at for r in range(rank) for n in range(plain)])
            g["blk.%d.attn_v_b.weight" % i] = ([heads, v, rank], [x for a in at for x in w[a + plain * rank:a + (plain + v) * rank]])
    mla = "_mla" if split else ""
    values = {"attention.kv_lora_rank": rank, "rope.dimension_count": rope, "expert_count": config["n_routed_experts"],
              "expert_used_count": config["num_experts_per_tok"], "expert_feed_forward_length": config["moe_intermediate_size"],
              "expert_shared_count": config["n_shared_experts"], "expert_weights_scale": config["routed_scaling_factor"],
              "leading_dense_block_count": config["first_k_dense_replace"], "attention.head_count_kv": 1 if split else heads,
              "attention.key_length" + mla: plain + rope, "attention.value_length" + mla: v, "rope.freq_base": 10000.0}
    if split:
        values.update({"attention.key_length": rank + rope, "attention.value_length": rank})
    save_gguf(folder + "/model-f32.gguf", "deepseek2", dict(sizes(config), **values), g)


def mpt(folder):
    tensors, config = load("dec_mpt")
    g = renamed(tensors, config["n_layers"], {"transformer.wte": "token_embd", "transformer.norm_f": "output_norm"},
                {"norm_1": "attn_norm", "norm_2": "ffn_norm", "attn.Wqkv": "attn_qkv", "attn.out_proj": "attn_output",
                 "ffn.up_proj": "ffn_up", "ffn.down_proj": "ffn_down"}, "transformer.blocks.%d.", "blk.%d.")
    save_gguf(folder + "/model-f32.gguf", "mpt",
              {"block_count": config["n_layers"], "embedding_length": config["d_model"], "feed_forward_length": 4 * config["d_model"],
               "attention.head_count": config["n_heads"], "context_length": config["max_seq_len"],
               "attention.layer_norm_epsilon": 1e-5, "attention.max_alibi_bias": 8.0}, g)


def phi3(folder):
    tensors, config = load("dec_phi3_longrope")
    rope, trained = config["rope_parameters"], config["original_max_position_embeddings"]
    g = renamed(tensors, config["num_hidden_layers"], OUTER,
                dict(LLAMA, **{"self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up"}), "model.layers.%d.", "blk.%d.")
    for x in ("long", "short"):
        g["rope_factors_%s.weight" % x] = ([len(rope[x + "_factor"])], rope[x + "_factor"])
    scale = math.sqrt(1 + math.log(config["max_position_embeddings"] / trained) / math.log(trained))
    save_gguf(folder + "/model-f32.gguf", "phi3",
              dict(sizes(config), **{"rope.scaling.original_context_length": trained, "rope.scaling.attn_factor": scale,
                                     "rope.dimension_count": config["hidden_size"] // config["num_attention_heads"]}), g)


CASES = [("qwen", "dec_phi3", "qwen", qwen), ("deepseek2", "dec_deepseek_v2", "deepseek_v2", lambda f: deepseek(f, False)),
         ("deepseek2, keys and values apart", "dec_deepseek_v2", "deepseek_v2", lambda f: deepseek(f, True)),
         ("mpt", "dec_mpt", "mpt", mpt), ("phi3 with longrope", "dec_phi3_longrope", "phi3", phi3)]


def check(folder, source, architecture, write):
    shutil.copy(os.path.join(GOLDENS, source, "io.safetensors"), folder)
    with open(os.path.join(GOLDENS, source, "case.json")) as file:
        info = json.load(file)
    with open(folder + "/case.json", "w") as file:
        json.dump(dict(info, architecture=architecture), file)
    write(folder)
    return subprocess.run([RUN, folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def main():
    print("1..%d" % len(CASES))
    failed = 0
    for i, (name, source, architecture, write) in enumerate(CASES):
        folder = tempfile.mkdtemp(prefix="percept-conversions-")
        try:
            done = check(folder, source, architecture, write)
        finally:
            shutil.rmtree(folder)
        good = done.returncode == 0 and "\nPASS " in done.stdout
        failed |= not good
        print("%sok %d - %s" % ("" if good else "not ", i + 1, name))
        if not good:
            print("".join("# %s\n" % line for line in done.stdout.splitlines()), end="")
    return failed


if __name__ == "__main__":
    sys.exit(main())
