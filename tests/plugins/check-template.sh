#!/bin/sh
# check-template.sh - the template's plugins build outside the tree with pkg-config alone, loads, and keeps the contract. TAP.
top=$(cd "${top_srcdir:-.}" && pwd)
build=$(cd "${top_builddir:-.}" && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
n=0 failed=0
verdict() { # status, what; the log in $work/log
	n=$((n + 1))
	if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; sed 's/^/# /' "$work/log"; failed=1; fi
}
# An installation of the header and the .pc, and nothing else.
mkdir -p "$work/usr/include/percept" "$work/usr/lib/pkgconfig" "$work/mine"
cp "$top/sdk/include/percept/plugin.h" "$work/usr/include/percept/"
sed -e "s|^prefix=.*|prefix=$work/usr|" -e 's|^exec_prefix=.*|exec_prefix=${prefix}|' -e 's|^libdir=.*|libdir=${prefix}/lib|' \
	-e 's|^includedir=.*|includedir=${prefix}/include|' "$build/percept-plugin.pc" >"$work/usr/lib/pkgconfig/percept-plugin.pc"
cp "$top/sdk/template/Makefile" "$top"/sdk/template/*.c "$work/mine/" && chmod -R u+w "$work/mine"
PKG_CONFIG_LIBDIR="$work/usr/lib/pkgconfig"; export PKG_CONFIG_LIBDIR
unset MAKEFLAGS MAKELEVEL MFLAGS CFLAGS LDFLAGS
make_mine() { (cd "$work/mine" && make CFLAGS="-O2 -Wall -Wextra -Werror -Wno-unused-parameter" "$@") >"$work/log" 2>&1; }

make_mine; verdict $? "builds with pkg-config alone"
nm -D --defined-only "$work/mine/brightness.so" 2>"$work/log" | awk '$2 != "A" { print $3 }' | grep -qx percept_plugin
verdict $? "exports percept_plugin"
# A matrix from 3 features to 192 values. A sanitizer's allocator does not count what leaks; all else is done.
head -c 2304 /dev/zero >"$work/matrix.f32"
for name in brightness pool tint; do
	"$build/percept" check --model "$work/matrix.f32" "$work/mine/$name.so" >"$work/log" 2>&1 &&
		! grep SKIP "$work/log" | grep -qv 'does not count'
	verdict $? "$name passes percept check, and nothing of it is skipped"
done
"$build/percept" check -o rows=3 "$work/mine/brightness.so" >"$work/log" 2>&1; verdict $? "passes percept check with an option"
make_mine install DESTDIR="$work/root"; verdict $? "installs"
find "$work/root" -name brightness.so 2>"$work/log" | grep -q 'plugins-1/brightness.so$'; verdict $? "lands among the plugins of its ABI"
echo "1..$n"
exit $failed
