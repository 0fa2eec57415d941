/* facts.c - what a worker tells our module about a request.
 *
 * Runs in workers. Adds records to the response's buffer; never sends by itself, never measures.
 */
#include "worker/facts.h"

static void tell(fpd_exchange *exchange, const wire_facts *facts)
{
    uint8_t record[WIRE_FACTS_MAX];
    const uint8_t *end;

    if (exchange->request.is_peer) {
        end = wire_facts_write(record, facts);
        fpd_response_add_records(&exchange->response, record, (size_t)(end - record));
    }
}

static void fill_worker(wire_facts *facts, const fpd_exchange *exchange)
{
    wire_facts_init(facts);
    facts->worker = exchange->pid;
    facts->queue = exchange->ready_at > 0 && exchange->started > exchange->ready_at
                       ? exchange->started - exchange->ready_at
                       : 0; /* a lane: nobody had to be waited for */
}

void fpd_facts_tell_worker(fpd_exchange *exchange)
{
    wire_facts facts;

    fill_worker(&facts, exchange);
    tell(exchange, &facts);
}

void fpd_facts_tell_timeout(fpd_exchange *exchange)
{
    wire_facts facts;

    fill_worker(&facts, exchange);
    facts.failure = WIRE_FAILURE_TIMEOUT;
    tell(exchange, &facts);
}

void fpd_facts_tell_cost(fpd_exchange *exchange)
{
    const fpd_sapi_request *sapi = &exchange->sapi;
    wire_facts facts;

    if (sapi->memory_peak == 0) {
        return; /* PHP did not run */
    }
    wire_facts_init(&facts);
    facts.memory = (int64_t)sapi->memory_peak;
    facts.cpu = sapi->cpu_used;
    tell(exchange, &facts);
}
