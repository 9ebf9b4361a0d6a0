/* pulse.h - signs of life of the plugins that are at work, so that one that hangs is noticed. */
#ifndef ENGINE_PULSE_H
#define ENGINE_PULSE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/clock.h"

enum { PULSES = 16 };

/* One call into a plugin: when it last asked whether it is cancelled, or said how far it is. */
struct pulse {
	_Atomic(uint64_t) beat_ns; /* 0: free */
	_Atomic(const char *) plugin;
};

struct pulses {
	struct pulse all[PULSES];
};

/* A free one, beating; NULL if there is none: then nobody watches the call. [any] */
static inline struct pulse *pulse_start(struct pulses *pulses)
{
	for (size_t i = 0; pulses && i < PULSES; i++) {
		uint64_t none = 0;

		if (atomic_compare_exchange_strong(&pulses->all[i].beat_ns, &none, clock_now_ns()))
			return &pulses->all[i];
	}
	return NULL;
}

static inline void pulse_beat(struct pulse *pulse)
{
	if (pulse)
		atomic_store_explicit(&pulse->beat_ns, clock_now_ns(), memory_order_relaxed);
}

static inline void pulse_stop(struct pulse *pulse)
{
	if (pulse) {
		atomic_store(&pulse->plugin, NULL);
		atomic_store(&pulse->beat_ns, 0);
	}
}

/* Milliseconds since the one that is silent for longest beat, and its plugin's name (may be NULL). [any] */
static inline double pulse_silence_ms(struct pulses *pulses, const char **plugin)
{
	const uint64_t now = clock_now_ns();
	double most = 0;

	*plugin = NULL;
	for (size_t i = 0; i < PULSES; i++) {
		const uint64_t beat = atomic_load(&pulses->all[i].beat_ns);

		if (!beat || beat > now || (double)(now - beat) * 1e-6 <= most)
			continue;
		most = (double)(now - beat) * 1e-6;
		*plugin = atomic_load(&pulses->all[i].plugin);
	}
	return most;
}

#endif
