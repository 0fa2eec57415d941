/* announce.c - writes the slot's plain information: stage, numbers, texts.
 *
 * Runs in workers. Readers take snapshots by text_sequence, which is odd while texts are written.
 * The slot's word is not touched here.
 */
#include "worker/announce.h"

#include <string.h>

static void put_text(char *to, size_t size, const char *text)
{
    size_t length = text != NULL ? strnlen(text, size - 1) : 0;

    if (length > 0) {
        memcpy(to, text, length);
    }
    to[length] = '\0';
}

static void begin_texts(fpd_slot *slot)
{
    atomic_fetch_add(&slot->text_sequence, 1);
}

static void end_texts(fpd_slot *slot)
{
    atomic_fetch_add(&slot->text_sequence, 1);
}

void fpd_announce_begin(fpd_slot *slot, int64_t started)
{
    atomic_store_explicit(&slot->request_id, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->keep, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->peer, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->stage, FPD_STAGE_READING_HEADERS, memory_order_relaxed);
    atomic_store_explicit(&slot->request_started, started, memory_order_relaxed);
}

void fpd_announce_request(fpd_slot *slot, const fpd_sapi_request *sapi)
{
    atomic_store_explicit(&slot->content_length, sapi->content_length, memory_order_relaxed);
    atomic_store_explicit(&slot->stage, FPD_STAGE_INFO, memory_order_relaxed);
    atomic_fetch_add_explicit(&slot->requests, 1, memory_order_relaxed);
    begin_texts(slot);
    put_text(slot->method, sizeof(slot->method), sapi->method);
    put_text(slot->uri, sizeof(slot->uri), sapi->request_uri);
    put_text(slot->query, sizeof(slot->query), sapi->query);
    put_text(slot->script, sizeof(slot->script), sapi->script);
    slot->user[0] = '\0';
    end_texts(slot);
}

void fpd_announce_user(fpd_slot *slot, const fpd_sapi_request *sapi)
{
    if (sapi->user[0] != '\0') {
        begin_texts(slot);
        put_text(slot->user, sizeof(slot->user), sapi->user);
        end_texts(slot);
    }
}

void fpd_announce_end(fpd_slot *slot, const fpd_sapi_request *sapi, int64_t duration, int64_t cpu)
{
    int64_t centi = duration > 0 && cpu > 0 ? cpu * 10000 / duration : 0;

    atomic_store_explicit(&slot->last_duration, duration, memory_order_relaxed);
    atomic_store_explicit(&slot->last_cpu_centi,
                          (uint32_t)(centi > UINT32_MAX ? UINT32_MAX : centi),
                          memory_order_relaxed);
    atomic_store_explicit(&slot->last_memory, sapi->memory_peak, memory_order_relaxed);
    atomic_store_explicit(&slot->stage, FPD_STAGE_IDLE, memory_order_relaxed);
}
