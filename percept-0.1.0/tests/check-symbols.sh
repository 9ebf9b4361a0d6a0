#!/bin/sh
# check-symbols.sh - each built plugin exports percept_plugin alone; the libraries export their own names alone. TAP.
cd "${top_builddir:-.}" || exit 1
n=0 failed=0
verdict() { # what, names that should not be there
	n=$((n + 1))
	if [ -z "$2" ]; then echo "ok $n - $1"; else echo "not ok $n - $1"; echo "$2" | sed 's/^/# /'; failed=1; fi
}
exported() { nm -D --defined-only "$1" | awk '$2 != "A" { print $3 }' | grep -vE '^(_init|_fini|_edata|_end|__bss_start|__asan|__ubsan|__odr_asan|___asan)' ; }
for so in plugins/.libs/*.so; do
	verdict "${so##*/} exports percept_plugin alone" "$(exported "$so" | grep -v '^percept_plugin$')"
	[ "$(exported "$so" | grep -c '^percept_plugin$')" = 1 ] || verdict "${so##*/} exports percept_plugin" "missing"
done
verdict "libpercept-nn exports nn_* alone" "$(exported .libs/libpercept-nn.so | grep -v '^nn_')"
verdict "libpercept exports percept_* alone" "$(exported .libs/libpercept.so | grep -v '^percept_')"
libraries() { readelf -d "$1" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p'; }
for program in perceptd .libs/perceptd; do
	[ -f "$program" ] && readelf -h "$program" >/dev/null 2>&1 || continue
	verdict "perceptd links neither FFmpeg nor BLAS nor the compute library" "$(libraries "$program" | grep -E 'libav|libsw|blas|percept-nn')"
done
echo "1..$n"
exit $failed
