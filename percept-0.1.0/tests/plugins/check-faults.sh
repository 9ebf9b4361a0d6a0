#!/bin/sh
# check-faults.sh - percept check finds each fault of tests/plugins/faulty.c, and passes the plugin that has none. TAP.
top=$(cd "${top_srcdir:-.}" && pwd)
build=$(cd "${top_builddir:-.}" && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
n=0 failed=0
# Number of the fault in faulty.c, and the check that must not be ok; the others may be.
faulty() { # fault, check
	n=$((n + 1))
	name="finds the fault: $2"
	[ -n "$2" ] || name="passes a plugin without a fault"
	${CC:-cc} -std=gnu11 -O1 -w -shared -fPIC -fvisibility=hidden -DFAULT="$1" -I"$top/sdk/include" -Wl,-z,defs -Wl,-z,nodelete \
		-o "$work/faulty.so" "$top/tests/plugins/faulty.c" -lm >"$work/log" 2>&1 &&
		"$build/percept" check "$work/faulty.so" >"$work/log" 2>&1
	status=$?
	if [ -n "$2" ] && grep -q "^ok [0-9]* - $2 # SKIP the allocator" "$work/log"; then
		echo "ok $n - $name # SKIP a sanitizer's allocator does not count"
	elif [ -n "$2" ] && [ $status = 1 ] && grep -q "^not ok [0-9]* - $2" "$work/log"; then echo "ok $n - $name"
	elif [ -z "$2" ] && [ $status = 0 ]; then echo "ok $n - $name"
	else echo "not ok $n - $name"; sed 's/^/# /' "$work/log"; failed=1; fi
}
faulty 0 ''
faulty 1 'keeps no writable globals'
faulty 2 'exports percept_plugin alone'
faulty 3 'describes itself'
faulty 4 'describes itself'
faulty 5 'has the operations of its kind'
faulty 6 'declares its options whole'
faulty 7 'refuses a missing model with a sentence'
faulty 8 'refuses a damaged model with a sentence'
faulty 9 'leaks nothing by open and close'
faulty 10 'opens twice'
faulty 11 'says its sizes and identity'
faulty 12 'works, and gives the shapes it declares'
faulty 13 'works, and gives the shapes it declares'
faulty 14 'gives the same for the same'
faulty 15 'refuses nonsense with a sentence'
faulty 16 'refuses nonsense with a sentence'
faulty 17 'stops within 100 ms when cancelled'
faulty 18 'leaks nothing by its work'
faulty 19 'works, and gives the shapes it declares'
faulty 20 'works, and gives the shapes it declares'
echo "1..$n"
exit $failed
