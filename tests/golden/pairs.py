#!/usr/bin/env python3
"""pairs.py - the vision-language models of tests/goldens as pairs of GGUF files that percept models convert makes of them, through
run-golden: the same features, logits and ids. TAP."""
import json, os, pathlib, shutil, subprocess, sys, tempfile

TOP, BUILD = (os.path.abspath(os.environ.get(name, ".")) for name in ("top_srcdir", "top_builddir"))
GOLDENS = pathlib.Path(TOP) / "tests/goldens"
KINDS = {"cogvlm", "llava", "llava_llama", "llava_next", "gemma3", "idefics3", "smolvlm", "internvl", "qwen2_vl", "qwen2_5_vl"}


def give_tokenizer(folder, config):
    """One of as many tokens as the embeddings have, which are bytes."""
    if (folder / "tokenizer.json").exists():
        return
    n = config.get("text_config", config)["vocab_size"]
    plain = [chr(i) for i in range(33, 127)] + [chr(i) for i in range(161, 400)]
    words = ["<s>", "</s>", "<unk>", "<image>", "[IMG]", "[IMG_BREAK]", "[IMG_END]"]
    special = [dict(id=n - len(words) + i, content=word, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
               for i, word in enumerate(words)]
    rules = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
    model = dict(type="BPE", vocab={c: i for i, c in enumerate(plain[:n - len(words)])}, merges=[], byte_fallback=False)
    (folder / "tokenizer.json").write_text(json.dumps(dict(version="1.0", added_tokens=special, pre_tokenizer=rules, decoder=rules, model=model)))


def run(*words):
    return subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)


def check(case, folder):
    shutil.copytree(GOLDENS / case, folder)
    give_tokenizer(folder, json.loads((folder / "config.json").read_text()))
    made = run(BUILD + "/percept", "models", "convert", folder, "--type", "f32", "-o", folder / "model-f32.gguf")
    if made.returncode:
        return made.stdout
    done = run(BUILD + "/tests/run-golden", folder)
    pair = done.stdout.partition("  with model-f32.gguf and mmproj-model-f32.gguf:")[2].partition("  with ")[0]
    good = done.returncode == 0 and "PASS" in done.stdout and "out.greedy_ids" in pair
    return None if good else done.stdout


def model_type(config):
    """CogVLM's own configurations have none."""
    return config.get("model_type") or {"CogVLMForCausalLM": "cogvlm"}.get(config["architectures"][0])


def main():
    cases = [p.parent.name for p in sorted(GOLDENS.glob("vlm_*/config.json")) if model_type(json.loads(p.read_text())) in KINDS]
    cases = [case for case in cases if "video" not in case and "sliding" not in case]  # what GGUF files have no place for
    failed = 0
    print("1..%d" % len(cases))
    for i, case in enumerate(cases):
        with tempfile.TemporaryDirectory(prefix="percept-pairs-") as top:
            words = check(case, pathlib.Path(top) / "case")
        failed |= words is not None
        print("%sok %d - %s" % ("not " if words else "", i + 1, case))
        if words:
            print("".join("# %s\n" % line for line in words.splitlines()), end="")
    return failed


if __name__ == "__main__":
    sys.exit(main())
