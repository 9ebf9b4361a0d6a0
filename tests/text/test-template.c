/* test-template.c - chat templates are rendered to the letter of the reference, within limits, and refused when wrong. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sdk/nn/template.h"
#include "tests/text/golden.h"

static int test_render(const char *source, const char *variables, const struct nn_template_limits *limits, char **text,
		       struct nn_error *error)
{
	struct nn_template *t = nn_template_new(source, error);
	cJSON *json = cJSON_Parse(variables);
	int failed = error->code;

	*text = NULL;
	assert_non_null(json);
	if (t)
		failed = nn_template_render(t, json, limits, text, error);
	nn_template_free(t);
	cJSON_Delete(json);
	return failed;
}

/* The variables of a golden case: what the reference passes. */
static cJSON *test_variables(const cJSON *file, const cJSON *item)
{
	static const char *const tokens[] = {"bos_token", "eos_token"}, *const own[] = {"messages", "tools",
											"add_generation_prompt"};
	cJSON *variables = cJSON_CreateObject();
	const cJSON *extra;

	for (size_t i = 0; i < 2; i++)
		cJSON_AddItemReferenceToObject(variables, tokens[i], cJSON_GetObjectItem(file, tokens[i]));
	for (size_t i = 0; i < 3; i++)
		if (cJSON_GetObjectItem(item, own[i]))
			cJSON_AddItemReferenceToObject(variables, own[i], cJSON_GetObjectItem(item, own[i]));
	cJSON_ArrayForEach(extra, cJSON_GetObjectItem(item, "extra"))
		cJSON_AddItemReferenceToObject(variables, extra->string, (cJSON *)extra);
	return variables;
}

static void test_one_case(const char *name, const struct nn_template *t, const cJSON *file, const cJSON *item)
{
	const cJSON *expected = cJSON_GetObjectItem(item, "expected"), *wrong = cJSON_GetObjectItem(item, "error");
	const char *label = cJSON_GetObjectItem(item, "name")->valuestring;
	cJSON *variables = test_variables(file, item);
	struct nn_error error = {0};
	char *text = NULL;
	int failed = nn_template_render(t, variables, NULL, &text, &error);

	cJSON_Delete(variables);
	if (expected && (failed || strcmp(text, expected->valuestring)))
		fail_msg("%s %s:\n%s\n--- not ---\n%s", name, label, failed ? error.text : text, expected->valuestring);
	if (wrong) {
		const char *own = strstr(wrong->valuestring, "TemplateError: ");

		if (!failed || (own && strcmp(error.text, own + strlen("TemplateError: "))))
			fail_msg("%s %s: \"%s\", not %s", name, label, failed ? error.text : text, wrong->valuestring);
	}
	free(text);
}

static void test_goldens(void **state)
{
	static const char *const names[] = {
		"chatml",    "deepseek-r1-distill", "deepseek-v2", "gemma-2",      "hermes-2-tools", "llama-2",  "llama-3.1",
		"llama-3",   "llava-1.5",           "mistral-nemo", "mistral-v0.2", "phi-3-mini",     "phi-3.5",  "qwen2-vl",
		"qwen2.5",   "qwen3",               "smollm3",     "smolvlm",      "vicuna",
	};
	char path[256];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct nn_error error = {0};
		const cJSON *item;

		snprintf(path, sizeof(path), "chat_templates/%s.jinja", names[i]);
		char *source = golden_read(golden_path(path), NULL);
		struct nn_template *t = nn_template_new(source, &error);

		if (!t)
			fail_msg("%s: %s", names[i], error.text);
		snprintf(path, sizeof(path), "chat_templates/%s.json", names[i]);
		cJSON *file = golden_json(golden_path(path));

		cJSON_ArrayForEach(item, cJSON_GetObjectItem(file, "cases"))
		{
			test_one_case(names[i], t, file, item);
		}
		cJSON_Delete(file);
		nn_template_free(t);
		free(source);
	}
}

#define VARIABLES                                                                                                        \
	"{\"n\": 7, \"f\": 0.5, \"s\": \"h\\u00e9llo w\\u00f6rld\", \"e\": \"\", \"l\": [3, 1, 2], \"z\": null, \"t\": true, " \
	"\"d\": {\"b\": 1, \"a\": [\"x\", {\"k\": \"v'\"}], \"items\": 5}, \"m\": [{\"r\": \"u\", \"c\": \"1\"}, "           \
	"{\"r\": \"a\", \"c\": \"2\"}, {\"r\": \"u\", \"c\": \"3\"}]}"

/* Each row was checked against Jinja 3.1.6 with trim_blocks and lstrip_blocks. */
static const struct {
	const char *source, *text;
} test_rows[] = {
	/* white space */
	{"a\n", "a"},
	{"a\n\n", "a\n"},
	{"a\r\nb\rc", "a\nb\nc"},
	{"{% if t %}\nx\n{% endif %}\ny", "x\ny"},
	{"  {% if t %}\n  x\n  {% endif %}\ny", "  x\ny"},
	{" a {% if t %} b {% endif %} c", " a  b  c"},
	{"a \n {%- if t -%} \n b \n {%- endif -%} \n c", "abc"},
	{"  {%+ if t %}x{% endif +%}\ny", "  x\ny"},
	{"{# c #}\nx", "x"},
	{"  {# c #}\nx {#- d -#} y", "xy"},
	{"  {{ n }}\n  {{- n -}}  \nx", "  77x"},
	{"{% raw %}{{ n }}{% if %}{% endraw %}\nx", "{{ n }}{% if %}x"},
	{"{%- raw -%} {{ n }} {%- endraw -%} x", "{{ n }}x"},
	/* values */
	{"{{ 1 }} {{ 1.0 }} {{ 1e20 }} {{ 0.1 + 0.2 }} {{ 1e-5 }} {{ 123456789.5 }}", "1 1.0 1e+20 0.30000000000000004 1e-05 123456789.5"},
	{"{{ true }} {{ none }} {{ missing }}|{{ z }}", "True None |None"},
	{"{{ [1, 'a', none, true, 1.5] }}", "[1, 'a', None, True, 1.5]"},
	{"{{ (1, 2) }} {{ (1,) }} {{ () }}", "(1, 2) (1,) ()"},
	{"{{ {'a': 1, 2: [\"it's\"]} }}", "{'a': 1, 2: [\"it's\"]}"},
	{"{{ d }}", "{'b': 1, 'a': ['x', {'k': \"v'\"}], 'items': 5}"},
	{"{{ ['\\n\\t\\\\', '\xc3\xa9', '\\x01'] }}", "['\\n\\t\\\\', '\xc3\xa9', '\\x01']"},
	{"{{ 'a' 'b' \"c\" }}", "abc"},
	{"{{ '\\x41\\u00e9\\n' }}|{{ '\\q' }}", "A\xc3\xa9\n|\\q"},
	{"{{ 1_000 }}", "1000"},
	/* operators */
	{"{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }}", "3 -4 1 2 3.5 1024 0.5"},
	{"{{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ -2 ** 2 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}", "3 9 4 3.0 0.5"},
	{"{{ 'a' ~ 1 ~ none ~ [1] }} {{ 'ab' * 3 }} {{ [1] * 2 + [3] }}", "a1None[1] ababab [1, 1, 3]"},
	{"{{ 1 < 2 < 3 }} {{ 1 < 2 > 5 }} {{ 'a' < 'b' }} {{ 1 == 1.0 }} {{ true == 1 }} {{ '1' == 1 }}", "True False True True True False"},
	{"{{ 1 in l }} {{ 9 not in l }} {{ 'ell' in 'hello' }} {{ 'b' in d }} {{ 'x' in missing }}", "True True True True False"},
	{"{{ not t }} {{ t and 'x' }} {{ e or 'y' }} {{ e and q.w }}", "False x y "},
	{"{{ 'a' if t else 'b' }}{{ 'c' if e }}{{ 'x' if e else 'y' if e else 'z' }}", "az"},
	{"{{ [1, 2] == [1, 2] }} {{ {'a': 1} == {'a': 1.0} }} {{ (1, 2) == [1, 2] }} {{ [1, 2] < [1, 3] }}", "True True False True"},
	{"{{ '%s-%d-%.2f-%5s' % ('a', 3, 1.5, 'b') if false else '%s-%d-%.2f' % ('a', 3, 1.5) }} {{ '%s' % n }}%", "a-3-1.50 7%"},
	{"{{ 1 if 2 is divisibleby 2 else 0 }} {{ 3 is odd }} {{ n is not none }} {{ q is defined }} {{ t is true }}", "1 True True False True"},
	{"{{ 'x' is string }} {{ d is mapping }} {{ l is sequence }} {{ s is iterable }} {{ 1 is number }} {{ true is integer }}", "True True True True True False"},
	{"{{ 'a' is in ['a'] }} {{ 3 is eq 3 }} {{ 3 is gt(2) }} {{ 'A' is upper }} {{ f is float }} {{ true is boolean }}", "True True True True True True"},
	/* looking into values */
	{"{{ d.b }} {{ d['b'] }} {{ d.a[1].k }} {{ d.q }}|{{ d['items'] }} {{ l[0] }} {{ l[-1] }} {{ l[9] }}|{{ s[1] }}", "1 1 v' |5 3 2 |\xc3\xa9"},
	{"{{ l[1:] }} {{ l[:-1] }} {{ l[::-1] }} {{ s[::2] }} {{ s[-3:] }} {{ l[5:] }} {{ l[-9:2] }} {{ l[2:0:-1] }}", "[1, 2] [3, 1] [2, 1, 3] hlowrd rld [] [3, 1] [2, 1]"},
	{"{{ m[-1]['r'] }}{{ m[0].c }} {{ l.0 }}", "u1 3"},
	/* statements */
	{"{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}", "103TrueFalse3 212FalseFalse3 321FalseTrue3 "},
	{"{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}", "<3>1 3<1>2 1<2> "},
	{"{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "b=1;a=['x', {'k': \"v'\"}];items=5;"},
	{"{% for x in l if x > 1 %}{{ x }}{{ loop.length }}{% else %}none{% endfor %}{% for x in [] %}{% else %}E{% endfor %}", "3222E"},
	{"{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}", "323"},
	{"{% for a in l %}{% for b in l %}{{ loop.depth }}{% break %}{% endfor %}{{ a }}{% endfor %}", "131112"},
	{"{% for c in s[:3] %}{{ c }}.{% endfor %}{% for k in d %}{{ k }},{% endfor %}", "h.\xc3\xa9.l.b,a,items,"},
	{"{% for x in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }} {% endfor %}", "aTrue bTrue aTrue "},
	{"{% set x = 1 %}{% for y in l %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}", "2221"},
	{"{% set x = 1 %}{% if t %}{% set x = 2 %}{% endif %}{{ x }}", "2"},
	{"{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set ns = namespace(x=1, y='q') %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.y }}{{ ns.z }}", "127q"},
	{"{% set x %}a{{ n }}{% endset %}{{ x }}{% set y | upper %}b{% endset %}{{ y }}", "a7B"},
	{"{% if e %}1{% elif n == 7 %}2{% elif true %}3{% else %}4{% endif %}{% if e %}1{% else %}{% if e %}2{% else %}3{% endif %}{% endif %}", "23"},
	{"{% macro f(a, b='d') %}[{{ a }}{{ b }}]{% endmacro %}{{ f(1) }}{{ f(1, 2) }}{{ f(b=3, a=4) }}{{ f() }}", "[1d][12][43][d]"},
	{"{% macro f(x) %}{{ x }}{% if x > 0 %}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "3210"},
	{"{% macro f(x) %}<{{ caller(x) }}>{% endmacro %}{% call(y) f(5) %}{{ y + 1 }}{% endcall %}", "<6>"},
	{"{% filter upper | trim %} abc {% endfilter %}{% with a = 1, b = n %}{{ a + b }}{% endwith %}{{ a }}", "ABC8"},
	{"{% generation %}{{ n }}{% endgeneration %}", "7"},
	/* filters */
	{"{{ ' a ' | trim }}{{ 'xaxx' | trim('x') }}{{ s | upper }}{{ s | capitalize }}{{ 'ab cd' | title }}{{ s | length }}", "aaH\xc3\x89LLO W\xc3\x96RLDH\xc3\xa9llo w\xc3\xb6rldAb Cd11"},
	{"{{ missing | default('d') }}{{ e | default('x', true) }}{{ z | d('y') }}{{ 0 | default(5, boolean=true) }}", "dxNone5"},
	{"{{ l | join('-') }} {{ m | join(',', attribute='c') }} {{ l | first }}{{ l | last }}{{ [] | first }} {{ l | sort | join }} {{ l | sort(reverse=true) }}", "3-1-2 1,2,3 32 123 [3, 2, 1]"},
	{"{{ m | map(attribute='c') | list }} {{ ['a', 'b'] | map('upper') | join }} {{ m | selectattr('r', 'equalto', 'u') | map(attribute='c') | join }} {{ m | rejectattr('r', '==', 'u') | list | length }}", "['1', '2', '3'] AB 13 1"},
	{"{{ [0, 1, 2] | select | list }} {{ [1, 2, 3] | select('odd') | list }} {{ [1, 2, 3] | reject('gt', 1) | list }} {{ m | selectattr('q') | list }}", "[1, 2] [1, 3] [1] []"},
	{"{{ d | tojson }}", "{\"b\": 1, \"a\": [\"x\", {\"k\": \"v'\"}], \"items\": 5}"},
	{"{{ {'a': [], 'b': {}, 'c': [1, {'x': none}]} | tojson(indent=2) }}", "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1,\n    {\n      \"x\": null\n    }\n  ]\n}"},
	{"{{ ['<\xc3\xa9>\\n\\x01\"', 1.5, true, none] | tojson }} {{ '\xc3\xa9' | tojson(ensure_ascii=true) }} {{ {'b': 1, 'a': 2} | tojson(sort_keys=true, separators=(',', ':')) }}", "[\"<\xc3\xa9>\\n\\u0001\\\"\", 1.5, true, null] \"\\u00e9\" {\"a\":2,\"b\":1}"},
	{"{{ d | items | list }} {{ d | dictsort | first }} {{ {'b': 1, 'a': 2}.keys() | list }} {{ {'b': 1}.values() | list }} {{ d.get('b') }}{{ d.get('q') }}{{ d.get('q', 3) }}", "[('b', 1), ('a', ['x', {'k': \"v'\"}]), ('items', 5)] ('a', ['x', {'k': \"v'\"}]) ['b', 'a'] [1] 1None3"},
	{"{{ '<a&\"\\'>' | e }} {{ 'aXbX' | replace('X', '-') }} {{ 'aXbX' | replace('X', '-', 1) }} {{ '3' | int + 1 }} {{ 'x' | int }} {{ '2.5' | float }} {{ 3.7 | int }}", "&lt;a&amp;&#34;&#39;&gt; a-b- a-bX 4 0 2.5 3"},
	{"{{ 'a\\nb\\n\\nc' | indent }}|{{ 'a\\nb' | indent(2, true) }}", "a\n    b\n\n    c|  a\n  b"},
	{"{{ -3 | abs }} {{ 3.14159 | round(2) }} {{ 2.5 | round }} {{ 7 | round }} {{ l | sum }} {{ l | min }}{{ l | max }} {{ [1, 1, 2] | unique | list }} {{ 'abc' | reverse }} {{ l | reverse | list }}", "3 3.14 2.0 7 6 13 [1, 2] cba [2, 1, 3]"},
	{"{% for k, g in m | groupby('r') %}{{ k }}{{ g | length }}{% endfor %} {{ [1, 2, 3] | batch(2) | list }} {{ 'a b  c' | wordcount }} {{ '%s!' | format('x') }} {{ 5 | string + '1' }}", "a1u2 [[1, 2], [3]] 3 x! 51"},
	/* methods and functions */
	{"{{ ' a '.strip() }}{{ 'xa'.lstrip('x') }}{{ 'ax'.rstrip('x') }}{{ 'a,b,c'.split(',') }}{{ ' a  b '.split() }}{{ 'a,b,c'.split(',', 1)[1] }}{{ 'a,b,c'.rsplit(',', 1)[0] }}", "aaa['a', 'b', 'c']['a', 'b']b,ca,b"},
	{"{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith(('x', 'c')) }}{{ 'abcb'.find('b') }}{{ 'abcb'.rfind('b') }}{{ 'abcb'.count('b') }}{{ s.index('w') }}{{ 'x'.join(['1', '2']) }}", "TrueTrue132" "61x2"},
	{"{{ 'AbC'.lower() }}{{ 'abc'.upper() }}{{ 'ab'.capitalize() }}{{ 'ab cd'.title() }}{{ '12'.isdigit() }}{{ 'a1'.isalpha() }}{{ 'aab'.replace('a', 'x', 1) }}{{ 'abc'.removeprefix('a') }}{{ 'a\\nb\\n'.splitlines() }}", "abcABCAbAb CdTrueFalsexabbc['a', 'b']"},
	{"{{ 'a=b=c'.partition('=') }} {{ '\xc3\x9f'.upper() }} {{ 'a  b c'.split(none, 1) }} {{ ''.split() }} {{ ''.split(',') }}", "('a', '=', 'b=c') SS ['a', 'b c'] [] ['']"},
	{"{{ range(3) | list }}{{ range(1, 4) | list }}{{ range(5, 0, -2) | list }}{{ dict(a=1) }}{% for i in range(2) %}{{ i }}{% endfor %}", "[0, 1, 2][1, 2, 3][5, 3, 1]{'a': 1}01"},
	{"{{ d.items is callable }} {{ 'items' in d }} {{ l | length == 3 and l[0] is not string }} {{ not n is string }}", "True True True True"},
	{"{{ {'a': {'b': 2}}.a.b }}{{ {}.x is undefined }}{{ {'}}': '%}'}['}}'] }}", "2True%}"},
	/* the only argument of a builtin may have a name */
	{"{{ 1 is eq(a=1) }} {{ ['a', 'b'] | select('eq', a='a') | list }} {{ 'abc'.startswith(x='a') }} {{ 'abc'.removeprefix(x='a') }} {{ d.get(key='b') }} {{ l.count(value=1) }}", "True ['a'] True bc 1 1"},
	{"{% if (n == 7) != (1 % 2 == 0) %}ok{% endif %}{{ strftime_now('%Y') | length }}", "ok4"},
};

static void test_language(void **state)
{
	for (size_t i = 0; i < sizeof(test_rows) / sizeof(*test_rows); i++) {
		struct nn_error error = {0};
		char *text;

		if (test_render(test_rows[i].source, VARIABLES, NULL, &text, &error))
			fail_msg("%s: %s", test_rows[i].source, error.text);
		if (strcmp(text, test_rows[i].text))
			fail_msg("%s:\n%s\n--- not ---\n%s", test_rows[i].source, text, test_rows[i].text);
		free(text);
	}
}

/* What is wrong with a template, at once or when it runs, and a word of the message. */
static const struct {
	const char *source, *word;
} test_wrong[] = {
	{"{{ n", "no end }}"},
	{"{% if n", "no end %}"},
	{"{# n", "no end #}"},
	{"{% raw %}x", "endraw"},
	{"{{ 'a }}", "quote"},
	{"{{ }}", "expression"},
	{"{{ 1 + }}", "expression"},
	{"{{ (1 }}", "bracket"},
	{"{{ 1) }}", "bracket"},
	{"{{ [1, 2 ) }}", "bracket"},
	{"{{ a ? b }}", "means nothing"},
	{"{{ a b }}", "missing"},
	{"{{ x | nosuch }}", "nosuch"},
	{"{{ x is nosuch }}", "nosuch"},
	{"{{ x. }}", "name"},
	{"{{ f(a=1, 2) }}", "without a name"},
	{"{{ 99999999999999999999 }}", "too large"},
	{"{% nosuch %}", "nosuch"},
	{"{% if n %}", "endif"},
	{"{% for x in l %}", "endfor"},
	{"{% for x %}{% endfor %}", "\"in\""},
	{"{% for 1 in l %}{% endfor %}", "name"},
	{"{% for x in l recursive %}{% endfor %}", "recursive"},
	{"{% endif %}", "endif"},
	{"{% else %}", "else"},
	{"{% break %}", "loop"},
	{"{% set = 1 %}", "name"},
	{"{% set 1 = 1 %}", "name"},
	{"{% macro f(1) %}{% endmacro %}", "name"},
	{"{% call f %}{% endcall %}", "needs a call"},
	{"{% include 'x' %}", "include"},
	{"{{ missing.x }}", "'missing' is undefined"},
	{"{{ missing() }}", "'missing' is undefined"},
	{"{{ missing + 1 }}", "'missing' is undefined"},
	{"{{ missing < 1 }}", "'missing' is undefined"},
	{"{{ 'a' + 1 }}", "str and int"},
	{"{{ n() }}", "cannot be called"},
	{"{{ n | length }}", "no length"},
	{"{% for x in n %}{% endfor %}", "iterated"},
	{"{{ missing | tojson }}", "Undefined"},
	{"{{ 1 / 0 }}", "zero"},
	{"{{ 1 % 0 }}", "zero"},
	{"{{ 9223372036854775807 + 1 }}", "too large"},
	{"{{ l[::0] }}", "step"},
	{"{{ l.append(1) }}", "change"},
	{"{{ range(1000000) }}", "range"},
	{"{% set d.x = 1 %}", "namespace"},
	{"{% set a, b = [1] %}", "2 names"},
	{"{% macro f() %}{% endmacro %}{{ f(1) }}", "macro f"},
	{"\n\n{{ missing.x }}", "line 3"},
	{"{{ raise_exception('Stop ' ~ n) }}", "Stop 7"},
	{"{{ raise_exception(message='Halt') }}", "Halt"},
	{"{{ raise_exception(missing) }}", "raise_exception"},
	{"{{ {[1]: 2} }}", "key"},
	{"{{ '%d' % 'x' }}", "number"},
	{"{{ '%s %s' % 'x' }}", "more directives"},
	{"{{ '%999999999d' % 1 }}", "directive"},
	{"{{ 'a'.split('') }}", "empty"},
	{"{{ l | map('nosuch') }}", "filter"},
	{"\xff", "UTF-8"},
};

static void test_refusals(void **state)
{
	for (size_t i = 0; i < sizeof(test_wrong) / sizeof(*test_wrong); i++) {
		struct nn_error error = {0};
		char *text;

		if (test_render(test_wrong[i].source, VARIABLES, NULL, &text, &error) != -EINVAL)
			fail_msg("%s: %s", test_wrong[i].source, error.code ? error.text : "accepted");
		if (!strstr(error.text, test_wrong[i].word))
			fail_msg("%s: \"%s\" lacks \"%s\"", test_wrong[i].source, error.text, test_wrong[i].word);
		assert_null(text);
	}
}

/* Endless, deep or large work ends with -E2BIG. */
static void test_limits(void **state)
{
	static const char *const sources[] = {
		"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
		"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
		"{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}{% for a in range(99999) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
		"{% for a in range(99999) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}",
		"{{ 'x' * 999999999 }}",
		"{% set ns = namespace(x=[]) %}{% for a in range(99999) %}{% set ns.x = ns.x + [a] %}{% endfor %}",
		("{% set ns = namespace() %}{% set ns.x = ns %}{{ {'a': ns} == {'a': 1} }}{% set ns.y = [] %}"
		 "{% for a in range(9999) %}{% set ns.y = [ns.y] %}{% endfor %}{{ ns.y }}"),
		"{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'.replace('', 'b' * 99999).replace('', 'b' * 99999) }}",
	};
	const struct nn_template_limits limits = {.steps = 1000000, .depth = 200, .output = 1 << 20, .time_ms = 2000};

	for (size_t i = 0; i < sizeof(sources) / sizeof(*sources); i++) {
		struct nn_error error = {0};
		char *text;
		int failed = test_render(sources[i], "{}", &limits, &text, &error);

		if (!failed || !error.text[0])
			fail_msg("%s: %d", sources[i], failed);
	}
}

static void test_time(void **state)
{
	const struct nn_template_limits limits = {.steps = UINT64_MAX / 2, .depth = 200, .output = 1 << 20, .time_ms = 30};
	struct nn_error error = {0};
	char *text;

	assert_int_equal(test_render("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "{}",
				     &limits, &text, &error), -E2BIG);
	assert_non_null(strstr(error.text, "30 ms"));
}

/* A template nested without end is refused before the stack is used up. */
static void test_nesting(void **state)
{
	enum { DEEP = 20000 };
	static const char *const units[] = {"(", "[", "-", "not ", "{% if a %}", "a if a else ", "{1:", "a[", "a(", "a+", "a.b|e+"};
	char *source = malloc(DEEP * 16);

	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		struct nn_error error = {0};
		char *text;
		size_t n = 0;

		n += (size_t)sprintf(source + n, *units[i] == '{' && units[i][1] == '%' ? "" : "{{ ");
		for (int k = 0; k < DEEP; k++)
			n += (size_t)sprintf(source + n, "%s", units[i]);
		sprintf(source + n, "1 }}");
		assert_true(test_render(source, "{\"a\": 1}", NULL, &text, &error) < 0);
	}
	free(source);
}

static void test_find(void **state)
{
	char *folder = golden_folder(), *text;

	assert_null(nn_template_find(folder));
	golden_folder_write(folder, "tokenizer_config.json", "{\"chat_template\": [{\"name\": \"tool_use\", \"template\": "
			    "\"no\"}, {\"name\": \"default\", \"template\": \"yes\"}]}");
	text = nn_template_find(folder);
	assert_string_equal(text, "yes");
	free(text);
	golden_folder_write(folder, "chat_template.json", "{\"chat_template\": \"first\"}");
	text = nn_template_find(folder);
	assert_string_equal(text, "first");
	free(text);
	golden_folder_write(folder, "chat_template.jinja", "best");
	text = nn_template_find(folder);
	assert_string_equal(text, "best");
	free(text);
	golden_folder_remove(folder);
}

/* The bundled model's own template gives its prompts. */
static void test_bundled(void **state)
{
	char *source = nn_template_find(golden_top_path("models/tiny-llava")), *text;
	struct nn_error error = {0};

	assert_non_null(source);
	assert_int_equal(test_render(source, "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image\"}, "
				     "{\"type\": \"text\", \"text\": \"what?\"}]}], \"add_generation_prompt\": true}", NULL,
				     &text, &error), 0);
	assert_string_equal(text, "USER: <image>\nwhat? ASSISTANT:");
	free(text);
	free(source);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_goldens), cmocka_unit_test(test_language), cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_limits),  cmocka_unit_test(test_time),     cmocka_unit_test(test_nesting),
		cmocka_unit_test(test_find),    cmocka_unit_test(test_bundled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
