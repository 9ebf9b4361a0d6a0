#!/bin/sh
# check-completions.sh - every option that a command's help names is completed in bash, zsh and fish. TAP.
percept="${top_builddir:-.}/percept"
completions="${top_srcdir:-.}/contrib/completions"
n=0 failed=0
for command in ask chat embed look status assistants plugins assemblies load unload reload shutdown models bench check; do
	n=$((n + 1))
	lacks=
	bash=$(PATH="$(cd "${top_builddir:-.}" && pwd):$PATH" bash -c ". '$completions/bash/percept'; _percept_options $command")
	for option in $("$percept" $command --help | sed '/options of every command/,$d' | grep -oE '^ +(-[A-Za-z], )?--[a-z-]+' |
		grep -oE -- '--[a-z-]+'); do
		echo "$bash" | grep -qx -- "$option" || lacks="$lacks bash:$option"
		grep -q -- "$option" "$completions/_percept" || lacks="$lacks zsh:$option"
		grep -q -- "-l ${option#--}" "$completions/percept.fish" || lacks="$lacks fish:$option"
	done
	if [ -z "$lacks" ]; then
		echo "ok $n - $command"
	else
		echo "not ok $n - $command lacks$lacks"
		failed=1
	fi
done
echo "1..$n"
exit $failed
