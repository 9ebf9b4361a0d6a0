/* plugin.h - the contract between Percept and a plugin: one header, C11 and C++.
 *
 * A plugin is a shared object in a directory `plugins-<abi>` that exports one data symbol, `percept_plugin`.
 * It is one of seven kinds. The kinds and what passes between them follow "A Survey on Multimodal Large Language
 * Models" (Yin et al., arXiv 2306.13549), section 2:
 *
 *   encoder           image, video, audio           -> features   f32 [items][tokens][dim]
 *   connector         features (token fusion)       -> embeddings f32 [n][d_model]
 *   fusion connector  features (feature fusion)     -> a memory, and hooks inside the decoder's layers
 *   decoder           rows (tokens and embeddings)  -> logits     f32 [wanted][vocab]
 *   remote decoder    a request                     -> text deltas
 *   expert            media                         -> text with spans and confidence
 *   generator         text or hidden states         -> media
 *
 * Rules that hold everywhere:
 *   - Functions return 0, or a negative errno after percept_fail() has said why in one sentence; that text reaches the client.
 *   - Every struct begins with `size`, set by the side that fills it. Structs grow at the end only and have no tail
 *     padding; a member is there if PERCEPT_HAS(pointer, member).
 *   - Memory that a call returns comes from percept_alloc(call, ...): it lives until the host ends that call's arena.
 *     What the host passes in is lent for the duration of the call, unless said otherwise.
 *   - Pointers to functions that a plugin does not have are NULL where marked (optional).
 *   - Threads: [one] the host makes no two such calls on the same instance at a time; [many] calls may overlap.
 *     Calls on different instances always may.
 *   - A call polls percept_cancelled() at least every 10 ms of its work and returns -ECANCELED when it is true.
 *   - A plugin keeps no writable globals, starts no process, and links with -Wl,-z,defs -Wl,-z,nodelete.
 */
#ifndef PERCEPT_PLUGIN_H
#define PERCEPT_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this contract. A plugin of another number is refused with that reason. */
#define PERCEPT_ABI 1

/* True if the struct that `pointer` points to is long enough to have `member`. */
#define PERCEPT_HAS(pointer, member)                                                              \
	((pointer)->size >= offsetof(__typeof__(*(pointer)), member) + sizeof((pointer)->member))

#if defined(__GNUC__)
#define PERCEPT_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define PERCEPT_EXPORT __attribute__((visibility("default")))
#else
#define PERCEPT_PRINTF(text, first)
#define PERCEPT_EXPORT
#endif

enum percept_kind {
	PERCEPT_ENCODER = 1,
	PERCEPT_CONNECTOR = 2, /* token fusion */
	PERCEPT_FUSION = 3,    /* feature fusion */
	PERCEPT_DECODER = 4,   /* stepping */
	PERCEPT_REMOTE = 5,    /* remote decoder */
	PERCEPT_EXPERT = 6,
	PERCEPT_GENERATOR = 7,
};

enum percept_modality {
	PERCEPT_TEXT = 1,
	PERCEPT_IMAGE = 2,
	PERCEPT_AUDIO = 4,
	PERCEPT_VIDEO = 8,
};

enum percept_log_level { PERCEPT_LOG_ERROR, PERCEPT_LOG_WARN, PERCEPT_LOG_INFO, PERCEPT_LOG_DEBUG };

/* ---- the host ---------------------------------------------------------------------------------------------- */

struct percept_call;

/* What a plugin may ask of its host. Lent from open to close. All [many]. */
struct percept_host {
	uint32_t size;
	uint32_t abi;
	/* `bytes` of zeroed memory, aligned to 64, from the call's arena; NULL when memory is out (the failure is recorded). */
	void *(*alloc)(struct percept_call *call, size_t bytes);
	/* Records why the call fails and returns `error` (a negative errno). The text is a sentence for a person. */
	int (*fail)(struct percept_call *call, int error, const char *format, ...) PERCEPT_PRINTF(3, 4);
	/* True once the client has gone, cancelled, or run out of time. Costs one atomic read. */
	int (*cancelled)(struct percept_call *call);
	/* Work done so far, for progress bars; total 0 if unknown. */
	void (*progress)(struct percept_call *call, uint64_t done, uint64_t total);
	/* One line in the host's log. Never a user's content. */
	void (*note)(struct percept_call *call, enum percept_log_level level, const char *format, ...) PERCEPT_PRINTF(3, 4);
	/* Runs task(arg, i) for i in [0, count) on the host's threads, the caller's included; returns when all are done. */
	void (*parallel)(struct percept_call *call, void (*task)(void *arg, uint32_t index), void *arg, uint32_t count);
	/* Threads that parallel() can use for this call, at least 1. */
	uint32_t (*threads)(struct percept_call *call);
	/* NULL unless somebody looks: shows an intermediate value by name, f32, row-major, `rank` <= 4. */
	void (*observe)(struct percept_call *call, const char *name, const float *data, const uint64_t *shape, uint32_t rank);
};

/* One call from the host into a plugin. `impl` is the host's. */
struct percept_call {
	uint32_t size;
	uint32_t reserved;
	const struct percept_host *host;
	void *impl;
};

/* ---- options ----------------------------------------------------------------------------------------------- */

enum percept_option_type {
	PERCEPT_OPTION_BOOL = 1,
	PERCEPT_OPTION_INT = 2,
	PERCEPT_OPTION_FLOAT = 3,
	PERCEPT_OPTION_STRING = 4,
	PERCEPT_OPTION_ENUM = 5, /* choices: "a|b|c"; given to the plugin as a string */
	PERCEPT_OPTION_PATH = 6,
};

/* One option that the plugin takes; the host parses, checks the range and documents it. */
struct percept_option {
	const char *name;
	enum percept_option_type type;
	uint32_t reserved;
	const char *fallback; /* the default as text; NULL: no default, the option is then absent */
	const char *choices;  /* PERCEPT_OPTION_ENUM only */
	double min, max;      /* numbers; both 0: no limit */
	const char *help;     /* a line for people */
};

/* An option's value. */
struct percept_value {
	const char *name;
	enum percept_option_type type;
	uint32_t given; /* 1 if it was configured, 0 if this is the default */
	int64_t integer; /* BOOL, INT */
	double real;     /* FLOAT, INT */
	const char *string; /* STRING, ENUM, PATH, and every other type's text */
};

/* What an instance is opened with. */
struct percept_open {
	uint32_t size;
	uint32_t n_values;
	const struct percept_value *values; /* every option with a value */
	const char *model;     /* absolute path of a directory or file; NULL if none is configured */
	const char *role;      /* where it sits in the assistant: "decoder", "image.encoder", "audio.expert" ... */
	const char *assistant; /* the assistant's name, for logs */
	uint32_t max_sequences; /* decoders, fusion connectors: sequences alive at once, at most */
	uint32_t reserved;
};

/* ---- media and features ------------------------------------------------------------------------------------ */

enum percept_sample_format {
	PERCEPT_U8_RGB = 1,       /* u8 [frames][height][width][3], sRGB */
	PERCEPT_F32_MONO = 2,     /* f32 [samples], -1..1, at rate_hz */
	PERCEPT_F32_PIXELS = 3,   /* f32 [frames][3][height][width]: already what the encoder's own preprocessing gives */
	PERCEPT_F32_MELS = 4,     /* f32 [frames][bins]: already a log-mel spectrogram as the encoder wants it */
};

/* One media item, decoded. */
struct percept_media {
	uint32_t size;
	uint32_t modality; /* PERCEPT_IMAGE, PERCEPT_AUDIO or PERCEPT_VIDEO */
	uint32_t format;   /* enum percept_sample_format */
	uint32_t frames;   /* images: 1 */
	uint32_t width, height, channels; /* audio: 0, 0, 1 */
	uint32_t detail;   /* enum percept_detail */
	/* 0: no bound. Rows of features, or what the encoder's own connector makes of them; too few are -EINVAL. Where encoder and
	 * connector have plan(), the host finds the bound with which the rows that enter the prompt are as few as a request wants. */
	uint32_t max_tokens;
	uint32_t reserved;
	uint64_t samples;  /* audio */
	double rate_hz;    /* audio: samples, video: frames per second */
	const double *times_s; /* video: one a frame; may be NULL */
	const void *data;
	uint64_t bytes;
};

enum percept_detail { PERCEPT_DETAIL_AUTO, PERCEPT_DETAIL_LOW, PERCEPT_DETAIL_HIGH };

/* How the rows of features lie in the item. */
struct percept_layout {
	uint32_t size;
	uint32_t items;          /* pieces that were encoded: tiles, frames, windows */
	uint32_t tokens;         /* rows an item, the class token included where has_class */
	uint32_t dim;
	uint32_t rows, cols;     /* patches of one item; 0 if not a grid */
	uint32_t grid_rows, grid_cols; /* tiles, the overview not counted; 1 x 1 if not tiled */
	uint32_t has_class;      /* row 0 of each item is a class token */
	uint32_t has_overview;   /* one item is the whole picture at low resolution: PERCEPT_OVERVIEW_* */
	uint32_t width, height;  /* the original, in pixels */
	uint32_t unpadded_width, unpadded_height; /* the part of the tile grid that is picture, in pixels; 0: all */
	double seconds;          /* audio, video: length of the original */
	const double *times_s;   /* start of each item; may be NULL */
	const uint32_t *item_tokens; /* rows of each item that count, where they differ; may be NULL */
};

enum percept_overview { PERCEPT_OVERVIEW_NONE, PERCEPT_OVERVIEW_FIRST, PERCEPT_OVERVIEW_LAST };

/* An encoder's result. */
struct percept_features {
	uint32_t size;
	uint32_t n_extra;
	struct percept_layout layout;
	const float *data;   /* [items][tokens][dim] */
	const float *pooled; /* [pooled_dim], the item's one vector in the space shared with text; NULL if the encoder has none */
	uint64_t pooled_dim;
	const float *const *extra; /* n_extra further feature maps of the same shape (VIP-LLaVA's layers); may be NULL */
};

/* ---- encoders ---------------------------------------------------------------------------------------------- */

struct percept_encoder_info {
	uint32_t size;
	uint32_t modalities; /* set of enum percept_modality */
	uint32_t dim;        /* of features */
	uint32_t pooled_dim; /* 0: none */
	uint32_t max_tokens; /* rows that one item can cost at most (an image with all its tiles) */
	uint32_t details;    /* set of 1 << enum percept_detail that differ from auto */
	double rate_hz;      /* audio: the rate it wants; else 0 */
	const char *identity; /* names weights, preprocessing and options: equal identity, equal features */
	uint64_t weight_bytes;
	uint32_t n_extra;    /* feature maps besides the first that each item gives (percept_features.extra) */
	uint32_t reserved;
};

struct percept_encoder {
	uint32_t size;
	uint32_t n_options;
	const struct percept_option *options;
	/* [one] The instance goes to *encoder; on failure nothing is left behind. */
	int (*open)(struct percept_call *call, const struct percept_open *open, void **encoder);
	/* [one] Never fails. */
	void (*close)(void *encoder);
	/* [many] Pointers in *info live as long as the instance. info->size is set by the caller. */
	int (*info)(void *encoder, struct percept_encoder_info *info);
	/* [many] (optional) The layout that encode() would give, without the work: counts tokens, refuses early. */
	int (*plan)(struct percept_call *call, void *encoder, const struct percept_media *media, struct percept_layout *layout);
	/* [many] One item to features. Preprocessing is the encoder's own, equal to its reference implementation's. */
	int (*encode)(struct percept_call *call, void *encoder, const struct percept_media *media,
		      struct percept_features *features);
	/* [many] (optional) Text into the same space as `pooled`: f32 [pooled_dim] in *pooled. */
	int (*encode_text)(struct percept_call *call, void *encoder, const char *text, const float **pooled);
	/* Live form (optional, all four or none) [one] a stream: features come as far as the samples allow. */
	int (*stream_open)(struct percept_call *call, void *encoder, void **stream);
	int (*stream_push)(struct percept_call *call, void *stream, const struct percept_media *media,
			   struct percept_features *features);
	int (*stream_flush)(struct percept_call *call, void *stream, struct percept_features *features);
	void (*stream_close)(void *stream);
};

/* ---- connectors: token fusion ------------------------------------------------------------------------------ */

enum percept_piece_kind {
	PERCEPT_PIECE_ROWS = 1, /* `count` rows of the embeddings, from `first` */
	PERCEPT_PIECE_TEXT = 2, /* `text`, tokenised by the host with special tokens recognised: "<start_of_image>" */
	/* Feature fusion: `text` too, and the first of its tokens stands for the item: rows from it on have seen it. */
	PERCEPT_PIECE_MARKER = 3,
};

/* One stretch of what enters the prompt in an item's place. A special token at its beginning or end, as a piece of its own, is
 * left out where the prompt has it around the item already: a chat template may have put it. */
struct percept_piece {
	enum percept_piece_kind kind;
	uint32_t first, count;
	uint32_t bidirectional; /* rows of this piece see each other in both directions (Gemma 3, PrefixLM) */
	const char *text;
	uint32_t unowned; /* 1: these rows belong to no item: the decoder's own weights take them (CogVLM's end of an image) */
	uint32_t reserved;
};

/* A connector's result. */
struct percept_embeddings {
	uint32_t size;
	uint32_t n;        /* rows */
	uint32_t dim;      /* d_model */
	uint32_t n_pieces; /* 0: all rows in order, nothing around them */
	const float *data; /* [n][dim] */
	const struct percept_piece *pieces;
	/* [n][4], counted from the position of the item's first row; NULL: one position a row. M-RoPE: temporal, height,
	 * width, 0. */
	const int32_t *positions;
	/* With `positions`: how far from there the text behind the item's last row stands. */
	uint32_t position_span;
	uint32_t reserved;
};

/* What sees itself in both directions: nothing, the pieces that say so, or the whole prompt, its text included (PaliGemma's
 * prefix: the host then puts media before text, and the token that texts begin with between them). */
enum percept_bidirectional { PERCEPT_CAUSAL, PERCEPT_BIDIRECTIONAL_PIECES, PERCEPT_BIDIRECTIONAL_PROMPT };

struct percept_connector_info {
	uint32_t size;
	uint32_t in_dim;      /* features it takes; 0: any */
	uint32_t out_dim;     /* embeddings it gives */
	uint32_t needs_text;  /* 1: connect() wants the instruction (InstructBLIP) */
	uint32_t max_rows;    /* rows that one item becomes at most; 0: as many as it has tokens */
	uint32_t position_components; /* 1, or 3 for M-RoPE: the decoder must declare as many */
	uint32_t bidirectional; /* enum percept_bidirectional; other than 0: the decoder must declare PERCEPT_CAN_BIDIRECTIONAL */
	uint32_t n_extra;     /* feature maps besides the first that it takes: the encoder must give as many */
	const char *identity;
	uint64_t weight_bytes;
	uint32_t leads;       /* 1: items stand in front of all text, and of the token that texts begin with (BLIP-2) */
	uint32_t reserved;
};

struct percept_connector {
	uint32_t size;
	uint32_t n_options;
	const struct percept_option *options;
	int (*open)(struct percept_call *call, const struct percept_open *open, void **connector); /* [one] */
	void (*close)(void *connector);                                                            /* [one] */
	int (*info)(void *connector, struct percept_connector_info *info);                         /* [many] */
	/* [many] (optional) Pieces and counts for a layout, `data` left NULL. */
	int (*plan)(struct percept_call *call, void *connector, const struct percept_layout *layout,
		    struct percept_embeddings *embeddings);
	/* [many] One item's features to embeddings. `instruction` is the user's text around it; NULL unless needs_text. */
	int (*connect)(struct percept_call *call, void *connector, const struct percept_features *features,
		       const char *instruction, struct percept_embeddings *embeddings);
};

/* ---- rows: what a decoder is given ------------------------------------------------------------------------- */

enum percept_wants {
	PERCEPT_WANT_LOGITS = 1, /* this row's logits, f32 [vocab] */
	PERCEPT_WANT_HIDDEN = 2, /* this row's last hidden state after the final norm, f32 [d_model] */
	PERCEPT_ENCODER_ROW = 4, /* encoder-decoder families: the row belongs to the encoder's input */
};

/* Encoder-decoder families (PERCEPT_CAN_ENCODE): a sequence is its encoder's rows, then its decoder's, whose first token is
 * the info's `start`. The encoder's rows see each other, and come all in one step, before or with the first decoder's row;
 * they want no logits. Positions begin at 0 in either part. Lengths (context, fork, trim) count both parts; to keep some of
 * the encoder's rows but not all is -ERANGE. max_batch is at least the context. */

/* One position of one sequence in a batch. */
struct percept_row {
	int32_t token;          /* the id; -1: `embedding` is given instead */
	uint32_t sequence;      /* 0 .. max_sequences - 1 */
	const float *embedding; /* [d_model] */
	int32_t position[4];    /* one component, or three for M-RoPE; unused ones equal the first */
	uint32_t media;         /* 0: text; else the item that owns the row, counted from 1 in order of the prompt */
	uint32_t span;          /* 0: causal; rows of one sequence with the same number see each other both ways */
	uint32_t adapter;       /* 0: none; else a LoRA handle */
	uint32_t wants;         /* set of enum percept_wants */
	uint32_t media_seen;    /* media items at or before this row (Flamingo: a text row attends the last of them) */
	/* The first item of the unbroken run, no row between them, that ends with item `media_seen` (Llama 3.2 Vision: a text
	 * row attends the whole run); 0 as long as media_seen is. */
	uint32_t media_run;
};

/* ---- connectors: feature fusion ---------------------------------------------------------------------------- */

enum percept_project {
	PERCEPT_PROJECT_QKV = 1,  /* x [n][d_model] -> y [n][q + k + v], the decoder's qkv_dim: not rotated, heads one after the other */
	PERCEPT_PROJECT_OUT = 2,  /* x [n][heads * head_dim], the decoder's out_dim -> y [n][d_model] */
	PERCEPT_PROJECT_MLP = 3,  /* x [n][d_model] -> y [n][d_model] */
};

/* What a decoder calls inside its layers. A batch has them only if a sequence in it has an item bound; sequences without one may
 * be in it too: their rows stay as they are. Any function may be NULL. A row's result must not depend on which other rows share
 * the batch, nor on how the rows of its sequence are divided into batches. */
struct percept_hooks {
	uint32_t size;
	uint32_t reserved;
	void *state;
	/* Before and after layer `layer`: hidden f32 [n][d_model] is changed in place. */
	int (*before_layer)(struct percept_call *call, void *state, uint32_t layer, const struct percept_row *rows,
			    uint32_t n, float *hidden);
	int (*after_layer)(struct percept_call *call, void *state, uint32_t layer, const struct percept_row *rows,
			   uint32_t n, float *hidden);
	/* For the rows that a media item owns, in place of the decoder's own weights: `index` names the n of `rows` in x and y. */
	int (*project)(struct percept_call *call, void *state, uint32_t layer, enum percept_project what,
		       const struct percept_row *rows, const uint32_t *index, uint32_t n, const float *x, float *y);
};

struct percept_fusion_info {
	uint32_t size;
	uint32_t in_dim;   /* features; 0: any */
	uint32_t d_model;  /* of the decoder it was trained with */
	uint32_t n_layers; /* of that decoder; 0: any */
	uint32_t hooks;    /* set of enum percept_capability: the PERCEPT_CAN_HOOK_* that it needs */
	uint32_t max_rows; /* rows that one item takes in the prompt at most; 0: none besides `marker` */
	/* Text put in an item's place where embed() is NULL, tokenised with special tokens; the first token stands for the item:
	 * "<image>". NULL: nothing enters the prompt, and the row behind the item is the first that has seen it. */
	const char *marker;
	const char *identity;
	uint64_t weight_bytes;
	/* 1: rows before a prompt's first item attend its items, too (Llama 3.2 Vision): prompts share rows only if all of their items
	 * are the same. */
	uint32_t whole;
	uint32_t reserved;
	/* PERCEPT_CAN_HOOK_PROJECT: the values of a row that project() makes as PERCEPT_PROJECT_QKV's y and takes as
	 * PERCEPT_PROJECT_OUT's x: the decoder's own must be the same. 0: any. */
	uint32_t qkv_dim, out_dim;
};

/* An item goes this way: encode(), remember(), embed() once, wherever it is used; then bind() for each sequence whose prompt has
 * it, before the sequence's first row, all of its items together, in order of `media`; steps with hooks; bind(NULL) for each
 * once the sequence has no more steps to come. A sequence's rows may be another's, taken over with what they have seen. In an
 * assistant with a fusion connector rows count only its items (media, media_seen, media_run). */
struct percept_fusion {
	uint32_t size;
	uint32_t n_options;
	const struct percept_option *options;
	int (*open)(struct percept_call *call, const struct percept_open *open, void **fusion); /* [one] */
	void (*close)(void *fusion);                                                            /* [one] */
	int (*info)(void *fusion, struct percept_fusion_info *info);                            /* [many] */
	/* [many] An item's features to what the hooks attend; *memory lives until forget() and takes *bytes. */
	int (*remember)(struct percept_call *call, void *fusion, const struct percept_features *features, void **memory,
			uint64_t *bytes);
	void (*forget)(void *fusion, void *memory); /* [many] */
	/* [many] (optional) What enters the prompt in the item's place: pieces, and the embeddings of its own rows if it has any
	 * (visual expert). */
	int (*embed)(struct percept_call *call, void *fusion, void *memory, struct percept_embeddings *embeddings);
	/* [one] with the decoder's step: binds item `media` (counted from 1) of `sequence`, below max_sequences, to a memory, or
	 * unbinds it (NULL; never fails). */
	int (*bind)(struct percept_call *call, void *fusion, uint32_t sequence, uint32_t media, void *memory);
	/* [one] with the decoder's step: the hooks for the next batch. */
	int (*hooks)(struct percept_call *call, void *fusion, struct percept_hooks *hooks);
	/* [many] (optional, only beside embed) The pieces and counts for a layout, `data` left NULL. */
	int (*plan)(struct percept_call *call, void *fusion, const struct percept_layout *layout,
		    struct percept_embeddings *embeddings);
};

/* ---- decoders: stepping ------------------------------------------------------------------------------------ */

enum percept_capability {
	PERCEPT_CAN_EMBEDDINGS = 1,     /* rows with embeddings */
	PERCEPT_CAN_BIDIRECTIONAL = 2,  /* spans */
	PERCEPT_CAN_MROPE = 4,          /* three position components */
	PERCEPT_CAN_ADAPTERS = 8,       /* LoRA */
	PERCEPT_CAN_FORK = 16,          /* fork(); else the host prefills anew */
	PERCEPT_CAN_TRIM = 32,          /* trim() to any length */
	PERCEPT_CAN_HOOK_LAYERS = 64,   /* before_layer, after_layer */
	PERCEPT_CAN_HOOK_PROJECT = 128, /* project */
	PERCEPT_CAN_ENCODE = 256,       /* encoder-decoder: takes PERCEPT_ENCODER_ROW rows */
	PERCEPT_CAN_HIDDEN = 512,       /* PERCEPT_WANT_HIDDEN */
};

struct percept_decoder_info {
	uint32_t size;
	uint32_t capabilities; /* set of enum percept_capability */
	uint32_t vocab;
	uint32_t d_model;
	uint32_t n_layers;
	uint32_t context;      /* rows that one sequence can hold */
	uint32_t max_batch;    /* rows that one step takes at most */
	uint32_t n_end;        /* ids in `end` */
	const int32_t *end;    /* tokens that end an answer */
	int32_t start;         /* encoder-decoder: the token that decoding starts with; else -1 */
	uint32_t n_heads;
	const char *family;    /* "llama", "t5" ... for people */
	const char *identity;
	uint64_t weight_bytes;
	uint32_t qkv_dim, out_dim; /* PERCEPT_CAN_HOOK_PROJECT: values of a row of PERCEPT_PROJECT_QKV's y, of PERCEPT_PROJECT_OUT's x */
};

/* A step. Rows of one sequence come in order of position; several sequences may be mixed. */
struct percept_batch {
	uint32_t size;
	uint32_t n;
	const struct percept_row *rows;
	const struct percept_hooks *hooks; /* NULL: none */
	/* Filled by step(), call arena: for the rows that want them, in order. */
	const float *logits; /* [wanting logits][vocab] */
	const float *hidden; /* [wanting hidden][d_model] */
};

struct percept_decoder {
	uint32_t size;
	uint32_t n_options;
	const struct percept_option *options;
	int (*open)(struct percept_call *call, const struct percept_open *open, void **decoder); /* [one] */
	void (*close)(void *decoder);                                                            /* [one] */
	int (*info)(void *decoder, struct percept_decoder_info *info);                           /* [many] */
	/* [one] Appends the batch's rows to their sequences and gives what they want. A row's result must not depend on
	 * which other rows share the batch. On failure the sequences are as before. */
	int (*step)(struct percept_call *call, void *decoder, struct percept_batch *batch);
	/* Sequences, the decoder's own storage. [one] with step. A sequence begins empty; none of these fails but for
	 * memory or a sequence number out of range; fork and trim also with -ERANGE, where layers with a sliding window
	 * have given up rows that the next one would see: the host prefills anew. */
	int (*sequence_new)(void *decoder, uint32_t sequence);
	int (*sequence_fork)(void *decoder, uint32_t from, uint32_t to, uint32_t length); /* (optional) `to` shares the first `length` rows */
	int (*sequence_trim)(void *decoder, uint32_t sequence, uint32_t length);          /* (optional) */
	void (*sequence_free)(void *decoder, uint32_t sequence);
	uint64_t (*sequence_bytes)(void *decoder, uint32_t sequence); /* UINT32_MAX: of all together */
	/* Text (optional, both or none). NULL: the host takes the tokenizer of the model's directory. [many]
	 * tokenize: ids into the call's arena. piece: the bytes of one id, maybe part of a character; not NUL-terminated. */
	int (*tokenize)(struct percept_call *call, void *decoder, const char *text, size_t bytes, int special,
			const int32_t **ids, uint32_t *n);
	int (*piece)(void *decoder, int32_t token, const char **bytes, uint32_t *n);
	/* Adapters (optional). [one] */
	int (*adapter_open)(struct percept_call *call, void *decoder, const char *path, uint32_t *adapter);
	void (*adapter_close)(void *decoder, uint32_t adapter);
	/* [one] (optional) The embedding rows of tokens: f32 [n][d_model] in the call's arena. */
	int (*embed)(struct percept_call *call, void *decoder, const int32_t *ids, uint32_t n, const float **embeddings);
};

/* ---- remote decoders --------------------------------------------------------------------------------------- */

struct percept_remote {
	uint32_t size;
	uint32_t n_options;
	const struct percept_option *options;
	int (*open)(struct percept_call *call, const struct percept_open *open, void **remote); /* [one] */
	void (*close)(void *remote);                                                            /* [one] */
	/* [many] `request` is the JSON of response.create's params; media[i] are its items in order. delta() is called with
	 * whole UTF-8 as it comes; the last JSON (usage, finish_reason) goes to *result, call arena. */
	int (*respond)(struct percept_call *call, void *remote, const char *request, const struct percept_media *media,
		       uint32_t n_media, void (*delta)(void *arg, const char *text, size_t bytes), void *arg,
		       const char **result);
};

/* ---- experts ----------------------------------------------------------------------------------------------- */

/* A stretch of an expert's text and where in the item it was found. */
struct percept_span {
	uint32_t first, bytes; /* in the text */
	double start_s, end_s; /* audio, video; else 0 */
	float x, y, width, height; /* image: share of the picture, 0..1 */
	float confidence;      /* 0..1; negative: unknown */
	uint32_t reserved;
};

struct percept_expert_result {
	uint32_t size;
	uint32_t n_spans;
	const char *text; /* UTF-8, NUL-terminated */
	const struct percept_span *spans;
	const char *language; /* BCP 47; NULL: unknown */
	float confidence;
	uint32_t reserved;
};

struct percept_expert_info {
	uint32_t size;
	uint32_t modalities;
	double rate_hz;
	const char *identity;
	uint64_t weight_bytes;
};

struct percept_expert {
	uint32_t size;
	uint32_t n_options;
	const struct percept_option *options;
	int (*open)(struct percept_call *call, const struct percept_open *open, void **expert); /* [one] */
	void (*close)(void *expert);                                                            /* [one] */
	int (*info)(void *expert, struct percept_expert_info *info);                            /* [many] */
	/* [many] Media to text. `hint` is a language or prompt for the expert; may be NULL. */
	int (*read)(struct percept_call *call, void *expert, const struct percept_media *media, const char *hint,
		    struct percept_expert_result *result);
};

/* ---- generators -------------------------------------------------------------------------------------------- */

struct percept_generator_info {
	uint32_t size;
	uint32_t modality;   /* of what it makes */
	uint32_t hidden_dim; /* hidden states it takes; 0: text only */
	uint32_t reserved;
	double rate_hz;
	const char *identity;
	uint64_t weight_bytes;
};

struct percept_generator {
	uint32_t size;
	uint32_t n_options;
	const struct percept_option *options;
	int (*open)(struct percept_call *call, const struct percept_open *open, void **generator); /* [one] */
	void (*close)(void *generator);                                                            /* [one] */
	int (*info)(void *generator, struct percept_generator_info *info);                         /* [many] */
	/* [many] Text, or hidden f32 [n][hidden_dim], to media, handed to emit() in pieces as they are ready. */
	int (*generate)(struct percept_call *call, void *generator, const char *text, const float *hidden, uint32_t n,
			int (*emit)(void *arg, const struct percept_media *media), void *arg);
};

/* ---- the one symbol ---------------------------------------------------------------------------------------- */

struct percept_plugin {
	uint32_t size;
	uint32_t abi;        /* PERCEPT_ABI */
	uint32_t kind;       /* enum percept_kind */
	uint32_t reserved;
	const char *name;    /* [a-z0-9_]+, what configuration says */
	const char *version;
	const char *license; /* SPDX */
	const char *summary; /* a line for people */
	const void *ops;     /* struct percept_encoder, _connector, ... as `kind` says */
};

extern PERCEPT_EXPORT const struct percept_plugin percept_plugin;

/* ---- shorthands -------------------------------------------------------------------------------------------- */

#define percept_fail(call, ...) ((call)->host->fail((call), __VA_ARGS__))

static inline void *percept_alloc(struct percept_call *call, size_t bytes)
{
	return call->host->alloc(call, bytes);
}

static inline int percept_cancelled(struct percept_call *call)
{
	return call->host->cancelled(call);
}

/* The value of an option, or NULL if it has none. */
static inline const struct percept_value *percept_option(const struct percept_open *open, const char *name)
{
	for (uint32_t i = 0; i < open->n_values; i++) {
		const char *a = open->values[i].name, *b = name;

		while (*a && *a == *b)
			a++, b++;
		if (*a == *b)
			return &open->values[i];
	}
	return NULL;
}

#ifdef __cplusplus
}
#endif

#endif
