/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys and values in STORE_LOCAL:
 *     "tools/device/" id (16 bytes)  ->  u8 1, u8 role, u64 seen_us, name (varint length, bytes)
 *     "tools/address/" text          ->  u8 1, then u8 1 for a hint, 0 or nothing for what was asked for */
#include "tools/devices.h"

#include <errno.h>
#include <string.h>

#include "engine/cursor.h"

#define FORMAT 1
#define DEVICE_PREFIX "tools/device/"
#define ADDRESS_PREFIX "tools/address/"

static void device_key(const struct id *id, struct buf *key)
{
	buf_puts(key, DEVICE_PREFIX);
	buf_put(key, id->b, ID_SIZE);
}

int devices_note(struct replica *r, const struct device *d)
{
	_cleanup_(buf_done) struct buf key = { 0 }, value = { 0 };
	device_key(&d->id, &key);
	buf_u8(&value, FORMAT);
	buf_u8(&value, (uint8_t)d->role);
	buf_u64(&value, d->seen_us);
	buf_bytes(&value, d->name, strlen(d->name));
	if (buf_failed(&key) || buf_failed(&value))
		return -ENOMEM;
	return replica_local_put(r, key.data, key.len, value.data, value.len);
}

static int decode(const uint8_t *id, const void *value, size_t len, struct device *ret)
{
	struct cursor c = cursor_make(value, len);
	struct device d = { 0 };
	size_t n = 0;
	if (cursor_u8(&c) != FORMAT)
		return -EPROTONOSUPPORT;
	uint8_t role = cursor_u8(&c);
	d.seen_us = cursor_u64(&c);
	const uint8_t *name = cursor_bytes(&c, NAME_LIMIT, &n);
	if (!cursor_end(&c) || role > ROLE_MAX || !name_ok((const char *)name, n))
		return -EBADMSG;
	d.role = (enum role)role;
	memcpy(d.id.b, id, ID_SIZE);
	memcpy(d.name, name, n);
	*ret = d;
	return 0;
}

int devices_get(struct replica *r, const struct id *id, struct device *ret)
{
	_cleanup_(buf_done) struct buf key = { 0 }, value = { 0 };
	device_key(id, &key);
	if (buf_failed(&key))
		return -ENOMEM;
	int code = replica_local_get(r, key.data, key.len, &value);
	return code < 0 ? code : decode(id->b, value.data, value.len, ret);
}

struct each {
	device_fn device;
	address_fn address;
	void *userdata;
};

static int each_device(const uint8_t *key, size_t key_len, const uint8_t *value, size_t len,
		       void *userdata)
{
	const struct each *s = userdata;
	const size_t prefix = strlen(DEVICE_PREFIX);
	struct device d;
	if (key_len != prefix + ID_SIZE || decode(key + prefix, value, len, &d) < 0)
		return 0;
	return s->device(&d, s->userdata);
}

int devices_each(struct replica *r, device_fn f, void *userdata)
{
	struct each s = { .device = f, .userdata = userdata };
	return replica_local_scan(r, DEVICE_PREFIX, strlen(DEVICE_PREFIX), each_device, &s);
}

static void address_key(const char *address, struct buf *key)
{
	buf_puts(key, ADDRESS_PREFIX);
	buf_puts(key, address);
}

int addresses_add(struct replica *r, const char *address, bool hint)
{
	_cleanup_(buf_done) struct buf key = { 0 };
	const uint8_t value[] = { FORMAT, hint };
	address_key(address, &key);
	return buf_failed(&key) ? -ENOMEM : replica_local_put(r, key.data, key.len, value, sizeof(value));
}

int addresses_remove(struct replica *r, const char *address)
{
	_cleanup_(buf_done) struct buf key = { 0 }, value = { 0 };
	address_key(address, &key);
	if (buf_failed(&key))
		return -ENOMEM;
	int code = replica_local_get(r, key.data, key.len, &value);
	return code < 0 ? code : replica_local_delete(r, key.data, key.len);
}

static int each_address(const uint8_t *key, size_t key_len, const uint8_t *value, size_t len,
			void *userdata)
{
	const struct each *s = userdata;
	const size_t prefix = strlen(ADDRESS_PREFIX);
	char text[512];
	if (key_len - prefix >= sizeof(text))
		return 0;
	memcpy(text, key + prefix, key_len - prefix);
	text[key_len - prefix] = 0;
	return s->address(text, len > 1 && value[1] == 1, s->userdata);
}

int addresses_each(struct replica *r, address_fn f, void *userdata)
{
	struct each s = { .address = f, .userdata = userdata };
	return replica_local_scan(r, ADDRESS_PREFIX, strlen(ADDRESS_PREFIX), each_address, &s);
}
