#!/usr/bin/env python3
"""variations.py - made-up models of odd shapes through run-golden, against plain Python in double precision. TAP."""
import json, os, random, shutil, subprocess, sys, tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import reference as ref

RUN = os.path.join(os.environ.get("top_builddir", "."), "tests/run-golden")
GAP = 0.02  # greedy ids are only compared where the best logit leads by so much: float32 cannot turn it round

LLAMA = dict(model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=24, intermediate_size=40,
             num_hidden_layers=2, num_attention_heads=4, vocab_size=61, max_position_embeddings=128, rms_norm_eps=1e-5)
VISION = dict(model_type="clip_vision_model", hidden_size=30, intermediate_size=44, num_hidden_layers=2,
              num_attention_heads=3, image_size=20, patch_size=5, hidden_act="quick_gelu")
TEXT = dict(model_type="clip_text_model", hidden_size=21, intermediate_size=35, num_hidden_layers=2, num_attention_heads=3,
            vocab_size=53, max_position_embeddings=12, eos_token_id=52)
LLAMA3 = dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=3.0, original_max_position_embeddings=16)

DECODERS = {
    "heads of 6 values": dict(),
    "one layer, an odd vocabulary": dict(num_hidden_layers=1, vocab_size=37),
    "a hidden size of 33": dict(hidden_size=33, num_attention_heads=3, head_dim=10, intermediate_size=47),
    "head_dim larger than hidden / heads": dict(head_dim=14, num_key_value_heads=2),
    "one key-value head": dict(num_key_value_heads=1),
    "six heads share two": dict(hidden_size=36, num_attention_heads=6, num_key_value_heads=2),
    "one head": dict(num_attention_heads=1, num_key_value_heads=1),
    "null for heads and head_dim": dict(num_key_value_heads=None, head_dim=None),
    "a tied head": dict(tie_word_embeddings=True),
    "bf16": dict(_kind="BF16", hidden_size=40, head_dim=10),
    "f16, tied": dict(_kind="F16", tie_word_embeddings=True, hidden_size=20, intermediate_size=33, num_attention_heads=2),
    "biases": dict(attention_bias=True, mlp_bias=True),
    "theta in rope_parameters": dict(rope_parameters=dict(rope_type="default", rope_theta=500000.0)),
    "theta at the top": dict(rope_theta=1000000.0, rope_scaling=None),
    "linear scaling, old key": dict(rope_theta=5000.0, rope_scaling=dict(type="linear", factor=3.0)),
    "linear scaling, new keys": dict(rope_parameters=dict(rope_type="linear", factor=2.5, rope_theta=20000.0)),
    "llama3 scaling": dict(rope_theta=100.0, rope_scaling=LLAMA3, head_dim=16),
    "llama3 scaling, new keys": dict(rope_parameters=dict(LLAMA3, rope_theta=500.0), head_dim=12),
    "gelu in the gate": dict(hidden_act="gelu_pytorch_tanh", rms_norm_eps=1e-3),
    "a prompt over three pages": dict(_prompt=70, num_hidden_layers=1, hidden_size=12, num_attention_heads=2),
    "a prompt of one token": dict(_prompt=1),
    "two prompts": dict(_prompts=2),
}
VISIONS = {
    "heads of 10, 16 patches": dict(),
    "heads of 11, a hidden size of 33": dict(hidden_size=33, intermediate_size=51),
    "one layer": dict(num_hidden_layers=1),
    "one patch": dict(image_size=7, patch_size=7),
    "a size that patches do not fill": dict(image_size=23, patch_size=5),
    "gelu, another eps": dict(hidden_act="gelu", layer_norm_eps=1e-3),
    "f16": dict(_kind="F16", hidden_size=18),
    "bf16, three layers": dict(_kind="BF16", num_hidden_layers=3),
    "names without vision_model": dict(_prefix=""),
    "a wide picture": dict(_size=(10, 35)),
    "a smaller picture": dict(_size=(15, 10)),
    "three pictures": dict(_pictures=3),
}
CLIPS = {
    "pooled at the first end": dict(),
    "pooled at the greatest id": dict(eos_token_id=2),
    "one head, one layer": dict(num_attention_heads=1, num_hidden_layers=1),
    "f16": dict(_kind="F16"),
}
LLAVAS = {
    "layer -2": dict(),
    "the last layer, with the class token": dict(vision_feature_layer=-1, vision_feature_select_strategy="full"),
    "the input of the blocks": dict(vision_feature_layer=0),
    "layer 1, a relu between, no biases": dict(vision_feature_layer=1, projector_hidden_act="relu", multimodal_projector_bias=False),
    "two pictures, f16": dict(_pictures=2, _kind="F16", image_token_id=59),
}


class Case:
    def __init__(self, top, name, change, base, architecture):
        self.folder = os.path.join(top, "case")
        shutil.rmtree(self.folder, ignore_errors=True)
        os.mkdir(self.folder)
        self.own = {k[1:]: v for k, v in change.items() if k[0] == "_"}
        self.config = dict(base, **{k: v for k, v in change.items() if k[0] != "_"})
        self.w = ref.Weights(name, self.own.get("kind", "F32"))
        self.random = random.Random("input of " + name)
        self.io, self.architecture, self.limit = {}, architecture, (5e-5, 2e-4)

    def put(self, name, rows, shape=None, kind="F32"):
        flat = [v for row in rows for v in row]
        self.io[name] = (kind, shape or [len(rows), len(rows[0])], flat)

    def pixels(self, height, width, n):
        all = [[self.random.gauss(0, 1) for _ in range(3 * height * width)] for _ in range(n)]
        all = [[ref.rounded(v, "F32") for v in one] for one in all]
        self.put("in.pixel_values", all, [n, 3, height, width])
        return all

    def run(self):
        def write(name, what):
            with open(os.path.join(self.folder, name), "w") as f:
                json.dump(what, f)
        write("config.json", self.config)
        write("case.json", {"architecture": self.architecture, "tolerance": {"max_abs": self.limit[0], "max_rel": self.limit[1]}})
        ref.save(os.path.join(self.folder, "model.safetensors"), self.w.all)
        ref.save(os.path.join(self.folder, "io.safetensors"), self.io)
        done = subprocess.run([RUN, self.folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        missing = [k for k in self.io if k.startswith("out.") and k not in done.stdout]
        good = done.returncode == 0 and "PASS case" in done.stdout and not missing
        return None if good else done.stdout + "".join("no word of %s\n" % k for k in missing)


def greedy(case, config, embed, prompt, n, **names):
    """Ids, and the logits that chose them, as far as the best leads."""
    rows, ids, steps = list(prompt), [], []
    while len(ids) < n:
        last = ref.llama(case.w, config, rows, **names)[-1]
        order = sorted(last, reverse=True)
        if order[0] - order[1] < GAP:
            break
        ids.append(last.index(order[0]))
        steps.append(last)
        rows += embed([ids[-1]])
    return ids, steps


def decoder(top, name, change):
    case = Case(top, name, change, LLAMA, "llama")
    prompts = case.own.get("prompts", 1)
    ids = [[case.random.randrange(case.config["vocab_size"]) for _ in range(case.own.get("prompt", 9))] for _ in range(prompts)]

    def embed(ids):
        return ref.llama_embed(case.w, case.config, ids)
    case.put("in.input_ids", ids, kind="I32")
    logits = [ref.llama(case.w, case.config, embed(row)) for row in ids]
    case.put("out.logits", [r for one in logits for r in one], [prompts, len(ids[0]), case.config["vocab_size"]])
    if prompts == 1 and len(ids[0]) < 20:
        tokens, steps = greedy(case, case.config, embed, embed(ids[0]), 5)
        if tokens:
            case.put("out.greedy_tokens", [tokens], kind="I32")
            case.put("out.step_logits", steps)
    return case.run()


def vision(top, name, change):
    case = Case(top, name, change, VISION, "clip_vision_model")
    prefix = case.own.get("prefix", "vision_model.")
    height, width = case.own.get("size", (case.config["image_size"],) * 2)
    features, pooled = [], []
    for one in case.pixels(height, width, case.own.get("pictures", 1)):
        states = ref.clip_vision(case.w, case.config, one, height, width, prefix)
        features.append(states[-2][1:])
        pooled += ref.clip_pooled(case.w, case.config, states[-1], prefix)
    case.put("out.llava_feature", [r for f in features for r in f], [len(features), len(features[0]), len(features[0][0])])
    case.put("out.pooled", pooled)
    if prefix:
        case.put("out.image_embeds", ref.linear(pooled, case.w.matrix("visual_projection.weight", 17, case.config["hidden_size"])))
    return case.run()


def clip(top, name, change):
    case = Case(top, name, change, TEXT, "clip")
    text, kind = case.config, case.own.get("kind", "F32")
    case.config = dict(model_type="clip", projection_dim=13, text_config=text, vision_config=dict(VISION))
    end = text["vocab_size"] - 1
    rows = [[case.random.randrange(3, end) for _ in range(n)] + [end] * (text["max_position_embeddings"] - 2 - n) for n in (4, 7)]
    case.put("in.input_ids", rows, kind="I32")
    images, texts = [], []
    for one in case.pixels(20, 20, 2):
        x = ref.clip_pooled(case.w, VISION, ref.clip_vision(case.w, VISION, one, 20, 20)[-1])
        images += ref.linear(x, case.w.matrix("visual_projection.weight", 13, VISION["hidden_size"]))
    for ids in rows:
        texts.append(ref.clip_text(case.w, text, ids, 13)[1])
    images, texts = [[[v / ref.dot(r, r) ** 0.5 for v in r] for r in rows] for rows in (images, texts)]
    case.put("out.image_embeds", images)
    case.put("out.text_embeds", texts)
    case.w.all["logit_scale"] = ("F32", [1], [1.5])
    similar = [[ref.math.exp(1.5) * ref.dot(a, b) for b in texts] for a in images]
    case.put("out.logits_per_image", similar)
    return case.run()


def llava(top, name, change):
    base = dict(model_type="llava", architectures=["LlavaForConditionalGeneration"], image_token_index=60,
                projector_hidden_act="gelu", vision_feature_layer=-2, vision_feature_select_strategy="default",
                vision_config=dict(VISION, num_hidden_layers=3), text_config={k: v for k, v in LLAMA.items() if k != "architectures"})
    case = Case(top, name, change, base, "llava")
    c, w = case.config, case.w
    text, tower, bias = c["text_config"], c["vision_config"], c.get("multimodal_projector_bias", True)
    if "image_token_id" in c:
        del c["image_token_index"]
    media, rows = c.get("image_token_id", 60), []
    for one in case.pixels(20, 20, case.own.get("pictures", 1)):
        x = ref.clip_vision(w, tower, one, 20, 20, "vision_tower.vision_model.")[c["vision_feature_layer"]]
        rows.append(x if c["vision_feature_select_strategy"] == "full" else x[1:])
    for i, cols in ((1, tower["hidden_size"]), (2, text["hidden_size"])):
        p, d = "multi_modal_projector.linear_%d." % i, text["hidden_size"]
        rows = [ref.linear(r, w.matrix(p + "weight", d, cols), w.vector(p + "bias", d) if bias else None) for r in rows]
        rows = [ref.activated(r, c["projector_hidden_act"]) for r in rows] if i == 1 else rows
    body, head, ids, x = "language_model.model.", "language_model.lm_head.weight", [3], []

    def embed(ids):
        return ref.llama_embed(w, text, ids, body)
    x += embed(ids)
    for r in rows:
        after = [case.random.randrange(58) for _ in range(3)]
        ids += [media] * len(r) + after
        x += r + embed(after)
    case.put("in.input_ids", [ids], kind="I32")
    case.put("out.logits", ref.llama(w, text, x, body, head), [1, len(ids), text["vocab_size"]])
    tokens, _ = greedy(case, text, embed, x, 3, body=body, head=head)
    if tokens:
        case.put("out.greedy_ids", [tokens], kind="I32")
    return case.run()


def main():
    n = failed = 0
    with tempfile.TemporaryDirectory() as top:
        for kind, table in ((decoder, DECODERS), (vision, VISIONS), (clip, CLIPS), (llava, LLAVAS)):
            for name, change in table.items():
                words = kind(top, name, change)
                n, failed = n + 1, failed + (words is not None)
                print("%sok %d - %s: %s" % ("not " if words else "", n, kind.__name__, name))
                if words:
                    print("".join("# " + line + "\n" for line in words.splitlines()), end="")
    print("1..%d" % n)
    return failed != 0


sys.exit(main())
