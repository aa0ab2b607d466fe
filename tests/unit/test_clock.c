/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/clock.h"
#include "tests/tap.h"

int main(void)
{
	struct clock c = { 0 };
	const uint64_t wall = UINT64_C(1700000000000000);
	tap_plan(11);
	uint64_t a = clock_next(&c, wall), b = clock_next(&c, wall);
	is_uint(hlc_us(a), wall, "the wall clock gives the microseconds");
	ok(b > a && hlc_us(b) == wall, "within one microsecond the counter goes on");
	uint64_t d = clock_next(&c, wall - 5000000);
	ok(d > b, "a wall clock set back gives later stamps all the same");
	for (int i = 0; i < 1 << HLC_COUNTER_BITS; i++)
		d = clock_next(&c, wall);
	ok(hlc_us(d) == wall + 1, "a full counter carries into the microseconds");
	is_uint(hlc_us(clock_next(&c, wall + 10)), wall + 10, "the wall clock takes over again");
	clock_follow(&c, (wall + 1000) << HLC_COUNTER_BITS, wall);
	ok(clock_next(&c, wall) > (wall + 1000) << HLC_COUNTER_BITS, "a peer's stamp is followed");
	clock_follow(&c, UINT64_MAX, wall);
	uint64_t far = clock_next(&c, wall);
	ok(hlc_us(far) >= wall + HLC_LEAD_US && hlc_us(far) <= wall + HLC_LEAD_US + 1,
	   "but one minute ahead at most");
	clock_follow(&c, 1, wall);
	ok(clock_next(&c, wall) > far, "an old stamp changes nothing");
	uint64_t last = clock_next(&c, UINT64_MAX);
	ok(clock_next(&c, UINT64_MAX) > last, "a wall clock at the end of time leaves room");
	struct clock e = { 0 };
	clock_follow(&e, UINT64_MAX, UINT64_MAX);
	last = clock_next(&e, UINT64_MAX);
	ok(clock_next(&e, UINT64_MAX) > last && last > 0, "and so does following then");
	is_uint(hlc_us(clock_next(&(struct clock){ 0 }, 7)), 7, "any time since 1970 will do");
	return tap_done();
}
