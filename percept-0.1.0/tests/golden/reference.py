"""reference.py - LLaMA, CLIP and LLaVA in double precision and plain loops: what made-up cases expect."""
import math, random, struct


def rounded(x, kind):
    """x as a file of that type holds it."""
    if kind == "F16":
        return struct.unpack("<e", struct.pack("<e", x))[0]
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    if kind == "BF16":
        bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def packed(values, kind):
    if kind == "BF16":
        return b"".join(struct.pack("<f", v)[2:] for v in values)
    return struct.pack("<%d%s" % (len(values), {"F32": "f", "F16": "e", "I32": "i"}[kind]), *values)


def save(path, tensors):
    """tensors: {name: (type, shape, flat values)}"""
    import json
    header, body = {}, b""
    for name, (kind, shape, values) in tensors.items():
        data = packed(values, kind)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + body)


class Weights:
    """Random weights, made when first asked for by name."""

    def __init__(self, seed, kind):
        self.random, self.kind, self.all = random.Random(seed), kind, {}

    def vector(self, name, n, centre=0.0, spread=0.3):
        if name not in self.all:
            self.all[name] = (self.kind, [n], [rounded(self.random.gauss(centre, spread), self.kind) for _ in range(n)])
        return self.all[name][2]

    def matrix(self, name, rows, cols, shape=None, spread=None):
        if name not in self.all:
            spread = spread or 1.2 / math.sqrt(cols)
            flat = [rounded(self.random.gauss(0, spread), self.kind) for _ in range(rows * cols)]
            self.all[name] = (self.kind, shape or [rows, cols], flat)
        flat = self.all[name][2]
        return [flat[i * cols:(i + 1) * cols] for i in range(rows)]


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b))


def linear(x, w, b=None):
    return [[dot(row, out) + (b[i] if b else 0) for i, out in enumerate(w)] for row in x]


def add(x, y):
    return [[a + b for a, b in zip(r, s)] for r, s in zip(x, y)]


ACTIVATIONS = {
    "silu": lambda x: x / (1 + math.exp(-x)),
    "gelu": lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))),
    "gelu_new": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3))),
    "gelu_pytorch_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3))),
    "quick_gelu": lambda x: x / (1 + math.exp(-1.702 * x)),
    "relu": lambda x: max(x, 0.0),
}


def activated(x, name):
    return [[ACTIVATIONS[name](v) for v in row] for row in x]


def rms_norm(x, w, eps):
    return [[v * s * g for v, g in zip(row, w)] for row in x
            for s in [1 / math.sqrt(sum(v * v for v in row) / len(row) + eps)]]


def layer_norm(x, w, b, eps):
    out = []
    for row in x:
        mean = math.fsum(row) / len(row)
        s = 1 / math.sqrt(math.fsum((v - mean) ** 2 for v in row) / len(row) + eps)
        out.append([(v - mean) * s * g + o for v, g, o in zip(row, w, b)])
    return out


def attention(q, k, v, heads, kv_heads, causal):
    out, dim = [], len(q[0]) // heads
    for t, row in enumerate(q):
        line = []
        for h in range(heads):
            at, of = h * dim, h // (heads // kv_heads) * dim
            score = [dot(row[at:at + dim], key[of:of + dim]) / math.sqrt(dim) for key in (k[:t + 1] if causal else k)]
            top = max(score)
            e = [math.exp(s - top) for s in score]
            total = sum(e)
            line += [sum(p * v[s][of + i] for s, p in enumerate(e)) / total for i in range(dim)]
        out.append(line)
    return out


# ---- LLaMA ----

def frequencies(c, dim):
    rope = c.get("rope_parameters") or c.get("rope_scaling") or {}
    theta = rope.get("rope_theta", c.get("rope_theta", 10000.0))
    kind = rope.get("rope_type", rope.get("type", "default"))
    out = []
    for i in range(dim // 2):
        f = theta ** (-2 * i / dim)
        if kind == "linear":
            f /= rope["factor"]
        elif kind == "llama3":
            old, low, high = rope["original_max_position_embeddings"], rope["low_freq_factor"], rope["high_freq_factor"]
            wave = 2 * math.pi / f
            smooth = (old / wave - low) / (high - low)
            f = f / rope["factor"] if wave > old / low else f if wave < old / high else \
                (1 - smooth) * f / rope["factor"] + smooth * f
        out.append(f)
    return out


def rotated(x, heads, dim, freq):
    out = []
    for t, row in enumerate(x):
        line = list(row)
        for h in range(heads):
            for i, f in enumerate(freq):
                a, b, at = row[h * dim + i], row[h * dim + i + dim // 2], h * dim + i
                line[at] = a * math.cos(t * f) - b * math.sin(t * f)
                line[at + dim // 2] = b * math.cos(t * f) + a * math.sin(t * f)
        out.append(line)
    return out


def llama(w, c, x, body="model.", head="lm_head.weight"):
    """Logits of every row of x, the input embeddings."""
    d, ff, heads = c["hidden_size"], c["intermediate_size"], c["num_attention_heads"]
    kv_heads = c.get("num_key_value_heads") or heads
    dim = c.get("head_dim") or d // heads
    eps, freq = c.get("rms_norm_eps", 1e-6), frequencies(c, dim)
    act = c.get("hidden_act", "silu")
    for i in range(c["num_hidden_layers"]):
        p = body + "layers.%d." % i

        def project(x, name, rows, cols, bias):
            return linear(x, w.matrix(p + name + ".weight", rows, cols),
                          w.vector(p + name + ".bias", rows) if c.get(bias) else None)

        h = rms_norm(x, w.vector(p + "input_layernorm.weight", d, 1.0), eps)
        q = rotated(project(h, "self_attn.q_proj", heads * dim, d, "attention_bias"), heads, dim, freq)
        k = rotated(project(h, "self_attn.k_proj", kv_heads * dim, d, "attention_bias"), kv_heads, dim, freq)
        v = project(h, "self_attn.v_proj", kv_heads * dim, d, "attention_bias")
        a = attention(q, k, v, heads, kv_heads, True)
        x = add(x, project(a, "self_attn.o_proj", d, heads * dim, "attention_bias"))
        h = rms_norm(x, w.vector(p + "post_attention_layernorm.weight", d, 1.0), eps)
        gate = activated(project(h, "mlp.gate_proj", ff, d, "mlp_bias"), act)
        up = project(h, "mlp.up_proj", ff, d, "mlp_bias")
        h = [[a * b for a, b in zip(r, s)] for r, s in zip(gate, up)]
        x = add(x, project(h, "mlp.down_proj", d, ff, "mlp_bias"))
    x = rms_norm(x, w.vector(body + "norm.weight", d, 1.0), eps)
    out = body + "embed_tokens.weight" if c.get("tie_word_embeddings") else head
    return linear(x, w.matrix(out, c["vocab_size"], d))


def llama_embed(w, c, ids, body="model."):
    # Sums of a few hundred products, so that ties of logits are unlikely.
    table = w.matrix(body + "embed_tokens.weight", c["vocab_size"], c["hidden_size"], spread=0.8)
    return [table[i] for i in ids]


# ---- CLIP ----

def blocks(w, c, prefix, x, causal):
    """The hidden states, the input's first."""
    d, ff, heads, eps = c["hidden_size"], c["intermediate_size"], c["num_attention_heads"], c.get("layer_norm_eps", 1e-5)
    states = [x]
    for i in range(c["num_hidden_layers"]):
        p = prefix + "encoder.layers.%d." % i

        def project(x, name, rows, cols):
            return linear(x, w.matrix(p + name + ".weight", rows, cols), w.vector(p + name + ".bias", rows))

        h = layer_norm(x, w.vector(p + "layer_norm1.weight", d, 1.0), w.vector(p + "layer_norm1.bias", d), eps)
        q, k, v = [project(h, "self_attn.%s_proj" % n, d, d) for n in "qkv"]
        x = add(x, project(attention(q, k, v, heads, heads, causal), "self_attn.out_proj", d, d))
        h = layer_norm(x, w.vector(p + "layer_norm2.weight", d, 1.0), w.vector(p + "layer_norm2.bias", d), eps)
        h = activated(project(h, "mlp.fc1", ff, d), c.get("hidden_act", "quick_gelu"))
        x = add(x, project(h, "mlp.fc2", d, ff))
        states.append(x)
    return states


def cubic(t):
    """torch's bicubic kernel, a = -0.75: the weights of the four neighbours."""
    a, out = -0.75, []
    for s in (t + 1, t, 1 - t, 2 - t):
        out.append((a + 2) * s ** 3 - (a + 3) * s ** 2 + 1 if s <= 1 else a * (s ** 3 - 5 * s ** 2 + 8 * s - 4))
    return out


def resized(table, side, rows, cols):
    """interpolate(mode=bicubic, align_corners=False) of a side x side grid of rows."""
    if rows == side and cols == side:
        return table
    out = []
    for y in range(rows):
        sy = (y + 0.5) * side / rows - 0.5
        for x in range(cols):
            sx = (x + 0.5) * side / cols - 0.5
            line = [0.0] * len(table[0])
            for j, b in enumerate(cubic(sy - math.floor(sy))):
                for i, a in enumerate(cubic(sx - math.floor(sx))):
                    at = min(max(math.floor(sy) - 1 + j, 0), side - 1) * side + min(max(math.floor(sx) - 1 + i, 0), side - 1)
                    line = [l + a * b * v for l, v in zip(line, table[at])]
            out.append(line)
    return out


def clip_vision(w, c, pixels, height, width, prefix="vision_model."):
    """The hidden states of one picture, planar [3][height][width]."""
    d, patch, side, eps = c["hidden_size"], c["patch_size"], c["image_size"] // c["patch_size"], c.get("layer_norm_eps", 1e-5)
    rows, cols, p = height // patch, width // patch, prefix + "embeddings."
    flat = [[pixels[(ch * height + y * patch + j) * width + x * patch + i]
             for ch in range(3) for j in range(patch) for i in range(patch)] for y in range(rows) for x in range(cols)]
    kernel = w.matrix(p + "patch_embedding.weight", d, 3 * patch * patch, [d, 3, patch, patch])
    x = [w.vector(p + "class_embedding", d)] + linear(flat, kernel)
    table = w.matrix(p + "position_embedding.weight", 1 + side * side, d, spread=0.5)
    x = add(x, [table[0]] + resized(table[1:], side, rows, cols))
    x = layer_norm(x, w.vector(prefix + "pre_layrnorm.weight", d, 1.0), w.vector(prefix + "pre_layrnorm.bias", d), eps)
    return blocks(w, c, prefix, x, False)


def clip_pooled(w, c, x, prefix="vision_model."):
    d, eps = c["hidden_size"], c.get("layer_norm_eps", 1e-5)
    return layer_norm(x[:1], w.vector(prefix + "post_layernorm.weight", d, 1.0), w.vector(prefix + "post_layernorm.bias", d), eps)


def clip_text(w, c, ids, projection):
    """Its vector before and after the projection. Rows behind the end do not matter: the tower is causal."""
    d, eps, p, end = c["hidden_size"], c.get("layer_norm_eps", 1e-5), "text_model.", c.get("eos_token_id", 49407)
    tokens = w.matrix(p + "embeddings.token_embedding.weight", c["vocab_size"], d, spread=0.7)
    table = w.matrix(p + "embeddings.position_embedding.weight", c["max_position_embeddings"], d, spread=0.3)
    x = blocks(w, c, p, [[a + b for a, b in zip(tokens[t], table[i])] for i, t in enumerate(ids)], True)[-1]
    x = layer_norm(x, w.vector(p + "final_layer_norm.weight", d, 1.0), w.vector(p + "final_layer_norm.bias", d), eps)
    at = ids.index(max(ids)) if end == 2 else ids.index(end) if end in ids else 0
    return x[at], linear([x[at]], w.matrix("text_projection.weight", projection, d))[0]
