/* test-abi.c - the layout of plugin.h, frozen: a plugin built yesterday must find every member where it was.
 *
 * A struct may grow at its end: add the new member's row and its new size here. A row that has to change is a break of
 * the contract, and then PERCEPT_ABI changes with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <percept/plugin.h>

#define AT(type, member, offset) { #type "." #member, offsetof(struct type, member), offset }
#define SIZE(type, last, bytes)                                                                                              \
	{ "sizeof " #type, sizeof(struct type), bytes },                                                                     \
	{ #type " ends with its last member, without padding",                                                               \
	  offsetof(struct type, last) + sizeof(((struct type *)0)->last), sizeof(struct type) }
#define VALUE(name, number) { #name, name, number }

struct frozen {
	const char *name;
	size_t is, was;
};

/* Offsets of a machine with 64-bit pointers. */
static const struct frozen frozen_members[] = {
	SIZE(percept_host, observe, 72),
	AT(percept_host, size, 0), AT(percept_host, abi, 4), AT(percept_host, alloc, 8), AT(percept_host, fail, 16),
	AT(percept_host, cancelled, 24), AT(percept_host, progress, 32), AT(percept_host, note, 40),
	AT(percept_host, parallel, 48), AT(percept_host, threads, 56), AT(percept_host, observe, 64),
	SIZE(percept_call, impl, 24),
	AT(percept_call, size, 0), AT(percept_call, reserved, 4), AT(percept_call, host, 8),
	AT(percept_call, impl, 16),
	SIZE(percept_option, help, 56),
	AT(percept_option, name, 0), AT(percept_option, type, 8), AT(percept_option, reserved, 12),
	AT(percept_option, fallback, 16), AT(percept_option, choices, 24), AT(percept_option, min, 32),
	AT(percept_option, max, 40), AT(percept_option, help, 48),
	SIZE(percept_value, string, 40),
	AT(percept_value, name, 0), AT(percept_value, type, 8), AT(percept_value, given, 12),
	AT(percept_value, integer, 16), AT(percept_value, real, 24), AT(percept_value, string, 32),
	SIZE(percept_open, reserved, 48),
	AT(percept_open, size, 0), AT(percept_open, n_values, 4), AT(percept_open, values, 8),
	AT(percept_open, model, 16), AT(percept_open, role, 24), AT(percept_open, assistant, 32),
	AT(percept_open, max_sequences, 40), AT(percept_open, reserved, 44),
	SIZE(percept_media, bytes, 80),
	AT(percept_media, size, 0), AT(percept_media, modality, 4), AT(percept_media, format, 8),
	AT(percept_media, frames, 12), AT(percept_media, width, 16), AT(percept_media, height, 20),
	AT(percept_media, channels, 24), AT(percept_media, detail, 28), AT(percept_media, max_tokens, 32),
	AT(percept_media, reserved, 36), AT(percept_media, samples, 40), AT(percept_media, rate_hz, 48),
	AT(percept_media, times_s, 56), AT(percept_media, data, 64), AT(percept_media, bytes, 72),
	SIZE(percept_layout, item_tokens, 80),
	AT(percept_layout, size, 0), AT(percept_layout, items, 4), AT(percept_layout, tokens, 8),
	AT(percept_layout, dim, 12), AT(percept_layout, rows, 16), AT(percept_layout, cols, 20),
	AT(percept_layout, grid_rows, 24), AT(percept_layout, grid_cols, 28), AT(percept_layout, has_class, 32),
	AT(percept_layout, has_overview, 36), AT(percept_layout, width, 40), AT(percept_layout, height, 44),
	AT(percept_layout, unpadded_width, 48), AT(percept_layout, unpadded_height, 52),
	AT(percept_layout, seconds, 56), AT(percept_layout, times_s, 64), AT(percept_layout, item_tokens, 72),
	SIZE(percept_features, extra, 120),
	AT(percept_features, size, 0), AT(percept_features, n_extra, 4), AT(percept_features, layout, 8),
	AT(percept_features, data, 88), AT(percept_features, pooled, 96), AT(percept_features, pooled_dim, 104),
	AT(percept_features, extra, 112),
	SIZE(percept_encoder_info, reserved, 56),
	AT(percept_encoder_info, size, 0), AT(percept_encoder_info, modalities, 4), AT(percept_encoder_info, dim, 8),
	AT(percept_encoder_info, pooled_dim, 12), AT(percept_encoder_info, max_tokens, 16),
	AT(percept_encoder_info, details, 20), AT(percept_encoder_info, rate_hz, 24),
	AT(percept_encoder_info, identity, 32), AT(percept_encoder_info, weight_bytes, 40),
	AT(percept_encoder_info, n_extra, 48), AT(percept_encoder_info, reserved, 52),
	SIZE(percept_encoder, stream_close, 96),
	AT(percept_encoder, size, 0), AT(percept_encoder, n_options, 4), AT(percept_encoder, options, 8),
	AT(percept_encoder, open, 16), AT(percept_encoder, close, 24), AT(percept_encoder, info, 32),
	AT(percept_encoder, plan, 40), AT(percept_encoder, encode, 48), AT(percept_encoder, encode_text, 56),
	AT(percept_encoder, stream_open, 64), AT(percept_encoder, stream_push, 72),
	AT(percept_encoder, stream_flush, 80), AT(percept_encoder, stream_close, 88),
	SIZE(percept_piece, reserved, 32),
	AT(percept_piece, kind, 0), AT(percept_piece, first, 4), AT(percept_piece, count, 8),
	AT(percept_piece, bidirectional, 12), AT(percept_piece, text, 16),
	AT(percept_piece, unowned, 24), AT(percept_piece, reserved, 28),
	SIZE(percept_embeddings, reserved, 48),
	AT(percept_embeddings, size, 0), AT(percept_embeddings, n, 4), AT(percept_embeddings, dim, 8),
	AT(percept_embeddings, n_pieces, 12), AT(percept_embeddings, data, 16), AT(percept_embeddings, pieces, 24),
	AT(percept_embeddings, positions, 32), AT(percept_embeddings, position_span, 40),
	AT(percept_embeddings, reserved, 44),
	SIZE(percept_connector_info, reserved, 56),
	AT(percept_connector_info, size, 0), AT(percept_connector_info, in_dim, 4),
	AT(percept_connector_info, out_dim, 8), AT(percept_connector_info, needs_text, 12),
	AT(percept_connector_info, max_rows, 16), AT(percept_connector_info, position_components, 20),
	AT(percept_connector_info, bidirectional, 24), AT(percept_connector_info, n_extra, 28),
	AT(percept_connector_info, identity, 32), AT(percept_connector_info, weight_bytes, 40),
	AT(percept_connector_info, leads, 48), AT(percept_connector_info, reserved, 52),
	SIZE(percept_connector, connect, 56),
	AT(percept_connector, size, 0), AT(percept_connector, n_options, 4), AT(percept_connector, options, 8),
	AT(percept_connector, open, 16), AT(percept_connector, close, 24), AT(percept_connector, info, 32),
	AT(percept_connector, plan, 40), AT(percept_connector, connect, 48),
	SIZE(percept_row, media_run, 56),
	AT(percept_row, token, 0), AT(percept_row, sequence, 4), AT(percept_row, embedding, 8),
	AT(percept_row, position, 16), AT(percept_row, media, 32), AT(percept_row, span, 36),
	AT(percept_row, adapter, 40), AT(percept_row, wants, 44), AT(percept_row, media_seen, 48),
	AT(percept_row, media_run, 52),
	SIZE(percept_hooks, project, 40),
	AT(percept_hooks, size, 0), AT(percept_hooks, reserved, 4), AT(percept_hooks, state, 8),
	AT(percept_hooks, before_layer, 16), AT(percept_hooks, after_layer, 24), AT(percept_hooks, project, 32),
	SIZE(percept_fusion_info, out_dim, 64),
	AT(percept_fusion_info, size, 0), AT(percept_fusion_info, in_dim, 4), AT(percept_fusion_info, d_model, 8),
	AT(percept_fusion_info, n_layers, 12), AT(percept_fusion_info, hooks, 16), AT(percept_fusion_info, max_rows, 20),
	AT(percept_fusion_info, marker, 24), AT(percept_fusion_info, identity, 32),
	AT(percept_fusion_info, weight_bytes, 40), AT(percept_fusion_info, whole, 48), AT(percept_fusion_info, reserved, 52),
	AT(percept_fusion_info, qkv_dim, 56), AT(percept_fusion_info, out_dim, 60),
	SIZE(percept_fusion, plan, 88),
	AT(percept_fusion, size, 0), AT(percept_fusion, n_options, 4), AT(percept_fusion, options, 8),
	AT(percept_fusion, open, 16), AT(percept_fusion, close, 24), AT(percept_fusion, info, 32),
	AT(percept_fusion, remember, 40), AT(percept_fusion, forget, 48), AT(percept_fusion, embed, 56),
	AT(percept_fusion, bind, 64), AT(percept_fusion, hooks, 72),
	AT(percept_fusion, plan, 80),
	SIZE(percept_decoder_info, out_dim, 80),
	AT(percept_decoder_info, size, 0), AT(percept_decoder_info, capabilities, 4),
	AT(percept_decoder_info, vocab, 8), AT(percept_decoder_info, d_model, 12),
	AT(percept_decoder_info, n_layers, 16), AT(percept_decoder_info, context, 20),
	AT(percept_decoder_info, max_batch, 24), AT(percept_decoder_info, n_end, 28),
	AT(percept_decoder_info, end, 32), AT(percept_decoder_info, start, 40), AT(percept_decoder_info, n_heads, 44),
	AT(percept_decoder_info, family, 48), AT(percept_decoder_info, identity, 56),
	AT(percept_decoder_info, weight_bytes, 64), AT(percept_decoder_info, qkv_dim, 72), AT(percept_decoder_info, out_dim, 76),
	SIZE(percept_batch, hidden, 40),
	AT(percept_batch, size, 0), AT(percept_batch, n, 4), AT(percept_batch, rows, 8), AT(percept_batch, hooks, 16),
	AT(percept_batch, logits, 24), AT(percept_batch, hidden, 32),
	SIZE(percept_decoder, embed, 128),
	AT(percept_decoder, size, 0), AT(percept_decoder, n_options, 4), AT(percept_decoder, options, 8),
	AT(percept_decoder, open, 16), AT(percept_decoder, close, 24), AT(percept_decoder, info, 32),
	AT(percept_decoder, step, 40), AT(percept_decoder, sequence_new, 48), AT(percept_decoder, sequence_fork, 56),
	AT(percept_decoder, sequence_trim, 64), AT(percept_decoder, sequence_free, 72),
	AT(percept_decoder, sequence_bytes, 80), AT(percept_decoder, tokenize, 88), AT(percept_decoder, piece, 96),
	AT(percept_decoder, adapter_open, 104), AT(percept_decoder, adapter_close, 112),
	AT(percept_decoder, embed, 120),
	SIZE(percept_remote, respond, 40),
	AT(percept_remote, size, 0), AT(percept_remote, n_options, 4), AT(percept_remote, options, 8),
	AT(percept_remote, open, 16), AT(percept_remote, close, 24), AT(percept_remote, respond, 32),
	SIZE(percept_span, reserved, 48),
	AT(percept_span, first, 0), AT(percept_span, bytes, 4), AT(percept_span, start_s, 8),
	AT(percept_span, end_s, 16), AT(percept_span, x, 24), AT(percept_span, y, 28), AT(percept_span, width, 32),
	AT(percept_span, height, 36), AT(percept_span, confidence, 40), AT(percept_span, reserved, 44),
	SIZE(percept_expert_result, reserved, 40),
	AT(percept_expert_result, size, 0), AT(percept_expert_result, n_spans, 4), AT(percept_expert_result, text, 8),
	AT(percept_expert_result, spans, 16), AT(percept_expert_result, language, 24),
	AT(percept_expert_result, confidence, 32), AT(percept_expert_result, reserved, 36),
	SIZE(percept_expert_info, weight_bytes, 32),
	AT(percept_expert_info, size, 0), AT(percept_expert_info, modalities, 4), AT(percept_expert_info, rate_hz, 8),
	AT(percept_expert_info, identity, 16), AT(percept_expert_info, weight_bytes, 24),
	SIZE(percept_expert, read, 48),
	AT(percept_expert, size, 0), AT(percept_expert, n_options, 4), AT(percept_expert, options, 8),
	AT(percept_expert, open, 16), AT(percept_expert, close, 24), AT(percept_expert, info, 32),
	AT(percept_expert, read, 40),
	SIZE(percept_generator_info, weight_bytes, 40),
	AT(percept_generator_info, size, 0), AT(percept_generator_info, modality, 4),
	AT(percept_generator_info, hidden_dim, 8), AT(percept_generator_info, reserved, 12),
	AT(percept_generator_info, rate_hz, 16), AT(percept_generator_info, identity, 24),
	AT(percept_generator_info, weight_bytes, 32),
	SIZE(percept_generator, generate, 48),
	AT(percept_generator, size, 0), AT(percept_generator, n_options, 4), AT(percept_generator, options, 8),
	AT(percept_generator, open, 16), AT(percept_generator, close, 24), AT(percept_generator, info, 32),
	AT(percept_generator, generate, 40),
	SIZE(percept_plugin, ops, 56),
	AT(percept_plugin, size, 0), AT(percept_plugin, abi, 4), AT(percept_plugin, kind, 8),
	AT(percept_plugin, reserved, 12), AT(percept_plugin, name, 16), AT(percept_plugin, version, 24),
	AT(percept_plugin, license, 32), AT(percept_plugin, summary, 40), AT(percept_plugin, ops, 48),
};

static const struct frozen frozen_values[] = {
	VALUE(PERCEPT_ABI, 1), VALUE(PERCEPT_ENCODER, 1), VALUE(PERCEPT_CONNECTOR, 2), VALUE(PERCEPT_FUSION, 3),
	VALUE(PERCEPT_DECODER, 4), VALUE(PERCEPT_REMOTE, 5), VALUE(PERCEPT_EXPERT, 6), VALUE(PERCEPT_GENERATOR, 7),
	VALUE(PERCEPT_TEXT, 1), VALUE(PERCEPT_IMAGE, 2), VALUE(PERCEPT_AUDIO, 4), VALUE(PERCEPT_VIDEO, 8),
	VALUE(PERCEPT_LOG_ERROR, 0), VALUE(PERCEPT_LOG_WARN, 1), VALUE(PERCEPT_LOG_INFO, 2),
	VALUE(PERCEPT_LOG_DEBUG, 3), VALUE(PERCEPT_OPTION_BOOL, 1), VALUE(PERCEPT_OPTION_INT, 2),
	VALUE(PERCEPT_OPTION_FLOAT, 3), VALUE(PERCEPT_OPTION_STRING, 4), VALUE(PERCEPT_OPTION_ENUM, 5),
	VALUE(PERCEPT_OPTION_PATH, 6), VALUE(PERCEPT_U8_RGB, 1), VALUE(PERCEPT_F32_MONO, 2),
	VALUE(PERCEPT_F32_PIXELS, 3), VALUE(PERCEPT_F32_MELS, 4), VALUE(PERCEPT_DETAIL_AUTO, 0),
	VALUE(PERCEPT_DETAIL_LOW, 1), VALUE(PERCEPT_DETAIL_HIGH, 2), VALUE(PERCEPT_OVERVIEW_NONE, 0),
	VALUE(PERCEPT_OVERVIEW_FIRST, 1), VALUE(PERCEPT_OVERVIEW_LAST, 2), VALUE(PERCEPT_PIECE_ROWS, 1),
	VALUE(PERCEPT_PIECE_TEXT, 2), VALUE(PERCEPT_PIECE_MARKER, 3), VALUE(PERCEPT_WANT_LOGITS, 1), VALUE(PERCEPT_WANT_HIDDEN, 2),
	VALUE(PERCEPT_ENCODER_ROW, 4), VALUE(PERCEPT_PROJECT_QKV, 1), VALUE(PERCEPT_PROJECT_OUT, 2),
	VALUE(PERCEPT_PROJECT_MLP, 3), VALUE(PERCEPT_CAN_EMBEDDINGS, 1), VALUE(PERCEPT_CAN_BIDIRECTIONAL, 2),
	VALUE(PERCEPT_CAN_MROPE, 4), VALUE(PERCEPT_CAN_ADAPTERS, 8), VALUE(PERCEPT_CAN_FORK, 16),
	VALUE(PERCEPT_CAN_TRIM, 32), VALUE(PERCEPT_CAN_HOOK_LAYERS, 64), VALUE(PERCEPT_CAN_HOOK_PROJECT, 128),
	VALUE(PERCEPT_CAN_ENCODE, 256), VALUE(PERCEPT_CAN_HIDDEN, 512),
};

static void check_frozen(const struct frozen *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (rows[i].is != rows[i].was)
			fail_msg("%s: %zu, and it was %zu", rows[i].name, rows[i].is, rows[i].was);
	}
}

static void members_are_where_they_were(void **state)
{
	if (sizeof(void *) != 8)
		skip();
	check_frozen(frozen_members, sizeof(frozen_members) / sizeof(frozen_members[0]));
}

static void values_are_what_they_were(void **state)
{
	check_frozen(frozen_values, sizeof(frozen_values) / sizeof(frozen_values[0]));
}

static void has_sees_a_shorter_struct(void **state)
{
	struct percept_host host = { .size = offsetof(struct percept_host, observe) };

	assert_true(PERCEPT_HAS(&host, threads));
	assert_false(PERCEPT_HAS(&host, observe));
}

static void option_is_found_by_its_whole_name(void **state)
{
	const struct percept_value values[] = { { .name = "grids", .integer = 1 }, { .name = "grid", .integer = 2 } };
	const struct percept_open open = { .size = sizeof(open), .n_values = 2, .values = values };

	assert_int_equal(percept_option(&open, "grid")->integer, 2);
	assert_null(percept_option(&open, "gri"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_are_where_they_were),
		cmocka_unit_test(values_are_what_they_were),
		cmocka_unit_test(has_sees_a_shorter_struct),
		cmocka_unit_test(option_is_found_by_its_whole_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
