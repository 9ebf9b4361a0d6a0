#!/bin/sh
# check-layers.sh - every #include keeps the order of tests/layers.order. TAP.
cd "${top_srcdir:-.}" || exit 1
files=$(git ls-files sdk daemon plugins 2>/dev/null)
printf '%s\n' "${files:-$(find sdk daemon plugins -type f)}" | grep -E '^(sdk|daemon|plugins)/.*\.[ch]$' | grep -v '^sdk/template/' | sort | xargs awk '
BEGIN {
	while ((getline line < "tests/layers.order") > 0) {
		if (line ~ /^#/ || line !~ /:/) continue
		room = line; sub(/:.*/, "", room); rest = line; sub(/^[^:]*: ?/, "", rest)
		if (room ~ /^</) { library[room] = " " rest " "; libraries[++n] = room }
		else allowed[room] = " " room " " rest " "
	}
}
function room_of(path,   r) {
	r = path
	while (r ~ /\//) { sub(/\/[^\/]*$/, "", r); if (r in allowed) return r }
	return r
}
FNR == 1 { here = room_of(FILENAME); checked++ }
/^[ \t]*#[ \t]*include/ {
	what = $0; sub(/^[ \t]*#[ \t]*include[ \t]*/, "", what)
	if (what ~ /^"/) {
		sub(/^"/, "", what); sub(/".*/, "", what)
		if (what == "config.h") next
		there = room_of(what)
		if (index(allowed[here], " " there " ") == 0) bad[++b] = FILENAME ":" FNR ": includes " what
	} else {
		if (what ~ /^<percept\//) next
		for (i = 1; i <= n; i++)
			if (index(what, libraries[i]) == 1 && index(library[libraries[i]], " " here " ") == 0)
				bad[++b] = FILENAME ":" FNR ": includes " what
	}
}
END {
	print (b || !checked ? "not " : "") "ok 1 - " checked " files include only their own room and lower ones"
	for (i = 1; i <= b; i++) print "# " bad[i]
	print "1..1"
	exit b || !checked
}'
