#!/bin/sh
# check-goldens.sh - tests/run-golden over every folder of tests/goldens, and over a damaged one. TAP.
run="${top_builddir:-.}/tests/run-golden"
goldens="${top_srcdir:-.}/tests/goldens"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
n=0 failed=0
for folder in "$goldens"/*/ "$goldens"/tokenizers/*/; do
	[ -f "$folder/case.json" ] || [ -f "$folder/expected.json" ] || [ -f "$folder/goldens.json" ] || continue
	n=$((n + 1))
	name=$(basename "$folder")
	"$run" "$folder" >"$work/log" 2>&1
	status=$?
	if grep -q '^SKIP ' "$work/log"; then
		echo "ok $n - $name # SKIP $(sed -n 's/^SKIP [^(]*//p' "$work/log")"
	elif [ $status = 0 ] && grep -q '^PASS ' "$work/log" && ! grep -q 'not compared$' "$work/log"; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		sed 's/^/# /' "$work/log"
		failed=1
	fi
done

# An expected value that is off must not pass: the last one of out.* is made another number.
damage() { # folder
	cp -r "$goldens/$1" "$work/$1" && chmod -R u+w "$work/$1" &&
		printf '\100\111\017\333' | dd of="$work/$1/io.safetensors" bs=1 conv=notrunc status=none \
			seek=$(($(wc -c <"$work/$1/io.safetensors") - 4))
}
n=$((n + 1))
damage conn_llava_orig
if "$run" "$work/conn_llava_orig" >"$work/log" 2>&1; then
	echo "not ok $n - a wrong value fails"
	failed=1
else
	echo "ok $n - a wrong value fails"
fi
n=$((n + 1))
mkdir "$work/strange" && echo '{"architecture":"no such thing"}' >"$work/strange/case.json"
if "$run" "$work/strange" | grep -q '^SKIP strange'; then
	echo "ok $n - an unknown architecture is skipped"
else
	echo "not ok $n - an unknown architecture is skipped"
	failed=1
fi
echo "1..$n"
exit $failed
