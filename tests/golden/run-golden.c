/* run-golden.c - FOLDER...: runs each folder of golden vectors through the plugins and says PASS, FAIL or SKIP. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/golden/golden.h"

/* case.json's architecture, and what runs it. */
static const struct {
	const char *architecture;
	golden_runner *run;
} architectures[] = {
	{ "clip", case_clip },
	{ "siglip", case_clip },
	{ "clip_vision_model", case_clip_vision },
	{ "dinov2", case_clip_vision },
	{ "vit", case_clip_vision },
	{ "dinov2_with_registers", case_clip_vision },
	{ "siglip_vision_model", case_clip_vision },
	{ "blip_vision_model", case_clip_vision },
	{ "blip_2_vision_model", case_clip_vision },
	{ "instructblip_vision_model", case_clip_vision },
	{ "convnext", case_convnext },
	{ "convnextv2", case_convnext },
	{ "siglip2", case_siglip2 },
	{ "siglip2_vision_model", case_siglip2 },
	{ "open_clip", case_openclip },
	{ "vis_eva01", case_eva },
	{ "vis_eva02", case_eva },
	{ "llama", case_decoder },
	{ "mistral", case_decoder },
	{ "mixtral", case_decoder },
	{ "qwen2", case_decoder },
	{ "qwen2_moe", case_decoder },
	{ "qwen3", case_decoder },
	{ "qwen3_moe", case_decoder },
	{ "gemma2", case_decoder },
	{ "gemma3_text", case_decoder },
	{ "phi3", case_decoder },
	{ "gpt2", case_decoder },
	{ "mpt", case_decoder },
	{ "gpt_neox", case_decoder },
	{ "opt", case_decoder },
	{ "blip caption", case_caption },
	{ "t5", case_t5 },
	{ "mt5", case_t5 },
	{ "umt5", case_t5 },
	{ "deepseek_v2", case_decoder },
	{ "mllama_text_model", case_decoder },
	{ "qwen", case_decoder },
	{ "ggml block formats", case_blocks },
	{ "llava", case_vlm },
	{ "llava_llama", case_vlm },
	{ "mobilevlm", case_vlm },
	{ "llava_next", case_vlm },
	{ "vipllava", case_vlm },
	{ "idefics", case_vlm },
	{ "openflamingo", case_vlm },
	{ "idefics3", case_vlm },
	{ "smolvlm", case_vlm },
	{ "gemma3", case_vlm },
	{ "paligemma", case_vlm },
	{ "internvl", case_vlm },
	{ "mistral3", case_vlm },
	{ "mllama", case_vlm },
	{ "qwen2_vl", case_vlm },
	{ "qwen2_5_vl", case_vlm },
	{ "blip-2", case_vlm },
	{ "instructblip", case_vlm },
	{ "cogvlm", case_vlm },
	{ "cogvlm visual expert decoder + GLU projector", case_vlm },
	{ "flamingo perceiver resampler", case_resampler },
	{ "minicpmv resampler", case_connector },
	{ "flamingo gated cross attention", case_crossing },
	{ "blip-2 connector", case_qformer },
	{ "instructblip connector", case_qformer },
	{ "llava connector", case_connector },
	{ "llava connector (original repository)", case_connector },
	{ "mobilevlm connector", case_connector },
	{ "idefics3 connector", case_connector },
	{ "gemma3 connector", case_connector },
	{ "internvl connector", case_connector },
	{ "qwen2_vl connector", case_connector },
	{ "qwen2_5_vl connector", case_connector },
	{ "image decode", case_decode },
	{ "image resize", case_resize },
	{ "img_blip", case_image },
	{ "img_clip", case_image },
	{ "img_clip_padcrop", case_image },
	{ "img_convnext", case_image },
	{ "img_gemma3", case_image },
	{ "img_got_ocr2", case_image },
	{ "img_idefics", case_image },
	{ "img_idefics3", case_image },
	{ "img_llava_next", case_image },
	{ "img_llava_pad", case_image },
	{ "img_mllama", case_image },
	{ "img_siglip", case_image },
	{ "img_siglip2_naflex", case_flex },
	{ "img_smolvlm", case_image },
	{ "img_smolvlm_nosplit", case_image },
	{ "img_qwen2vl", case_native },
	{ "chat templates", case_template },
	{ "sampling", case_sampling },
};

/* Folders without a case.json are known by a file in them. */
static const struct {
	const char *file;
	golden_runner *run;
} files[] = {
	{ "expected.json", case_tokenizer },
	{ "goldens.json", case_e2e },
};

static golden_runner *find(const struct golden *g)
{
	const char *architecture = cJSON_GetStringValue(cJSON_GetObjectItem(g->info, "architecture"));
	char path[PATH_MAX + 64];

	/* A published model, which the folder does not hold. */
	if (cJSON_GetObjectItem(cJSON_GetObjectItem(g->info, "model"), "file"))
		return case_real;
	for (size_t i = 0; architecture && i < sizeof(architectures) / sizeof(architectures[0]); i++) {
		if (!strcmp(architectures[i].architecture, architecture))
			return architectures[i].run;
	}
	for (size_t i = 0; !g->info && i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", g->path, files[i].file);
		if (!access(path, R_OK))
			return files[i].run;
	}
	return NULL;
}

enum verdict { PASS, FAIL, SKIP };

/* Cases of training hold gradients: nothing here makes those yet, and what they say of the forward pass others say too. */
static int is_training(const struct golden *g)
{
	for (size_t i = 0; i < g->io.n; i++) {
		if (!strncmp(g->io.all[i].name, "grad.", 5))
			return 1;
	}
	return cJSON_HasObjectItem(g->info, "optimizer");
}

static enum verdict run(const char *path)
{
	struct golden g;

	if (golden_open(&g, path))
		return FAIL;
	const char *architecture = cJSON_GetStringValue(cJSON_GetObjectItem(g.info, "architecture"));
	golden_runner *runner = find(&g);

	printf("%s\n", g.name);
	if (is_training(&g))
		golden_skip(&g, "it is a case of training");
	else if (runner)
		runner(&g);
	else
		golden_skip(&g, "unknown architecture%s%s", architecture ? ": " : "", architecture ? architecture : "");
	if (!g.skip[0])
		golden_left_out(&g);
	enum verdict v = g.failed ? FAIL : g.skip[0] ? SKIP : g.checked ? PASS : FAIL;

	if (v == SKIP)
		printf("SKIP %s (%s)\n", g.name, g.skip);
	else
		printf("%s %s: %u of %u outputs\n", v == PASS ? "PASS" : "FAIL", g.name, g.checked - g.failed, g.checked);
	fflush(stdout);
	golden_close(&g);
	return v;
}

/* In a build tree the programs and plugins lie beside this program's folder. */
static void point_at_tree(void)
{
	char exe[PATH_MAX], path[PATH_MAX + 32];
	const ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (n < 0)
		return;
	exe[n] = '\0';
	for (int up = 0; up < 2 && strrchr(exe, '/'); up++) {
		*strrchr(exe, '/') = '\0';
		if (!up && strlen(exe) > 6 && !strcmp(exe + strlen(exe) - 6, "/.libs"))
			exe[strlen(exe) - 6] = '\0';
	}
	setenv("top_builddir", exe, 0);
	snprintf(path, sizeof(path), "%s/plugins/.libs", exe);
	setenv("PERCEPT_PLUGIN_PATH", path, 0);
}

int main(int argc, char **argv)
{
	unsigned count[3] = { 0 };

	if (argc < 2) {
		fprintf(stderr, "usage: run-golden FOLDER...\n");
		return 2;
	}
	point_at_tree();
	for (int i = 1; i < argc; i++)
		count[run(argv[i])]++;
	printf("%u passed, %u failed, %u skipped\n", count[PASS], count[FAIL], count[SKIP]);
	return count[FAIL] ? 1 : 0;
}
