#!/bin/sh
# check-plugins.sh - percept check over every plugin that the build made, with the bundled model. TAP.
top=${top_srcdir:-.} build=${top_builddir:-.}
n=0 failed=0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
for plugin in "$build"/plugins/.libs/*.so; do
	n=$((n + 1))
	if "$build/percept" check --model "$top/models/tiny-llava" "$plugin" >"$log" 2>&1; then
		echo "ok $n - ${plugin##*/} keeps the contract"
	else
		echo "not ok $n - ${plugin##*/} keeps the contract"
		sed 's/^/# /' "$log"
		failed=1
	fi
done
echo "1..$n"
exit $failed
