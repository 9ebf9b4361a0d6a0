#!/bin/sh
# check-headers.sh - every header compiles alone; the public ones as C11 and C++11 as well. TAP.
cd "${top_srcdir:-.}" || exit 1
n=0 failed=0
CC=${CC:-gcc} CXX=${CXX:-g++}
flags="-Wall -Wextra -Werror -Wno-unused-parameter -fsyntax-only -I. -Isdk/include -I${top_builddir:-.} $(pkg-config --cflags libuv libcjson 2>/dev/null)"
try() { # what, command...
	what=$1; shift; n=$((n + 1))
	if output=$("$@" 2>&1); then echo "ok $n - $what"; else echo "not ok $n - $what"; echo "$output" | sed 's/^/# /' | head -n 20; failed=1; fi
}
for header in sdk/include/percept/*.h; do
	name=percept/${header##*/}
	for standard in c11 gnu17; do
		try "$name as $standard" sh -c "printf '#include <$name>\n' | $CC -std=$standard $flags -x c -"
	done
	for standard in c++11 c++20; do
		try "$name as $standard" sh -c "printf '#include <$name>\n' | $CXX -std=$standard $flags -x c++ -"
	done
done
for header in $(find sdk daemon plugins -name '*.h' -not -path 'sdk/include/*' -not -path 'sdk/template/*' | sort); do
	try "$header alone" sh -c "printf '#include \"$header\"\n' | $CC -std=gnu11 $flags -x c -"
done
echo "1..$n"
exit $failed
