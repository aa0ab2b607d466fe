/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A fuzz target is tests/fuzz/fuzz_NAME.c with LLVMFuzzerTestOneInput (declared here) and seeds
 * in tests/fuzz/corpus/NAME/. libFuzzer drives it after configure CC=clang --enable-fuzzers;
 * otherwise tests/fuzz/replay.c is its main program, which feeds it the seeds and mutations
 * of them under make check. */

#include <stddef.h>
#include <stdint.h>

/* Aborts when the input shows a fault; returns 0. The input may not be changed or kept. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A target may name a directory of the test data made elsewhere that has seeds, too. */
extern const char *const fuzz_seed_data __attribute__((__weak__));

/* Use this in targets: unlike assert it does not depend on NDEBUG. */
#define FUZZ_CHECK(cond)                  \
	do {                              \
		if (!(cond))              \
			__builtin_trap(); \
	} while (0)
