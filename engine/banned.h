/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Functions that nobody here calls: they overrun, lose errors, or keep hidden state that
 * threads share. The build includes this file before everything else. The headers that declare
 * them come first, because a poisoned name may not even be declared. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

/* No bound: use struct buf, snprintf or memcpy. strncpy does not end its text. */
#pragma GCC poison strcpy strcat strncpy strncat stpcpy stpncpy sprintf vsprintf gets
/* No way to tell an error: use strtol and its kin, and look at the end pointer. */
#pragma GCC poison atoi atol atoll atof
/* Hidden state: use strchr, struct cursor; gmtime_r; mkstemp. */
#pragma GCC poison strtok gmtime localtime asctime tmpnam tempnam mktemp
#undef alloca
#undef strdupa
#undef strndupa
/* The stack is not for sizes that the input chooses. */
#pragma GCC poison alloca strdupa strndupa
