#!/bin/sh
# check-plugins.sh - percept check over every plugin that the build made, with a model of its kind. TAP.
top=${top_srcdir:-.} build=${top_builddir:-.}
n=0 failed=0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
for plugin in "$build"/plugins/.libs/*.so; do
	n=$((n + 1))
	case ${plugin##*/} in
	siglip.so) model=tests/goldens/vis_siglip ;;
	blip.so) model=tests/goldens/vis_blip2 ;;
	convnext.so) model=tests/goldens/vis_convnext ;;
	siglip2.so) model=tests/goldens/vis_siglip2 ;;
	eva.so) model=tests/goldens/vis_eva01 ;;
	openclip.so) model=tests/goldens/vis_openclip_vit_quickgelu ;;
	dinov2.so) model=tests/goldens/vis_dinov2 ;;
	vit.so) model=tests/goldens/vis_vit_interp ;;
	caption.so) model=tests/goldens/expert_blip_caption ;;
	t5.so) model=tests/goldens/dec_flan_t5_gated_untied ;;
	grid.so) model=tests/goldens/conn_idefics3 ;;
	qwen2vl.so) model=tests/goldens/vlm_qwen2vl ;;
	idefics3.so) model=tests/goldens/vlm_idefics3 ;;
	internvl.so) model=tests/goldens/vlm_internvl ;;
	mllama.so | cross_attention.so) model=tests/goldens/vlm_mllama ;;
	ldp.so) model=tests/goldens/conn_mobilevlm_ldp ;;
	pixtral.so) model=tests/goldens/vlm_pixtral ;;
	merger.so) model=tests/goldens/conn_qwen2vl_merger ;;
	qformer.so) model=tests/goldens/conn_blip2_qformer ;;
	visual_expert.so) model=tests/goldens/vlm_cogvlm2 ;;
	idefics.so) model=tests/goldens/vlm_idefics_small ;;
	resampler.so) model=tests/goldens/conn_flamingo_resampler ;;
	gated_cross_attention.so) model=tests/goldens/conn_flamingo_xattn ;;
	*) model=models/tiny-llava ;;
	esac
	# Tesseract's languages are no model's.
	[ "${plugin##*/}" != ocr.so ] || model=
	if "$build/percept" check ${model:+--model "$top/$model"} "$plugin" >"$log" 2>&1; then
		echo "ok $n - ${plugin##*/} keeps the contract"
	else
		echo "not ok $n - ${plugin##*/} keeps the contract"
		sed 's/^/# /' "$log"
		failed=1
	fi
done
echo "1..$n"
exit $failed
