/* See landing.h. A mempool with operations of its own and no objects: the library allocates from it as from any. */
#include <stdlib.h>

#include "shim.h"

#include <rte_mempool.h>

struct shunt_landing {
	/* What the library is given. */
	struct rte_mempool *view;
	/* Where the buffers come from, and go back to: an mbuf names its pool itself. */
	struct rte_mempool *pool;
	/* The first buffers of all frames come in one request, which is the first of a call (but for an announcement of
	 * the library's own, which makes it the second; that does no harm, they are then counted like the others). */
	int begun;
	struct shunt_landed told;
	unsigned most;
	unsigned given;
	/* Continuing buffers of this call. */
	struct rte_mbuf *segments[];
};

static int landing_alloc(struct rte_mempool *view)
{
	(void)view;
	return 0;
}

/* Nothing is ever freed to the view: no mbuf names it. */
static int landing_enqueue(struct rte_mempool *view, void *const *objects, unsigned count)
{
	(void)view;
	(void)objects;
	(void)count;
	return -ENOBUFS;
}

static unsigned landing_count(const struct rte_mempool *view)
{
	(void)view;
	return 0;
}

static int landing_take(struct rte_mempool *view, void **objects, unsigned count)
{
	struct shunt_landing *landing = view->pool_data;
	unsigned i;

	if (!landing->begun) {
		landing->begun = 1;
		return rte_mempool_get_bulk(landing->pool, objects, count);
	}
	if (count > landing->most - landing->given) {
		landing->told.refused++;
		return -ENOBUFS;
	}
	if (rte_mempool_get_bulk(landing->pool, objects, count) != 0) {
		landing->told.exhausted++;
		return -ENOBUFS;
	}
	for (i = 0; i < count; i++) {
		/* The second reference is ours, until the call has returned. */
		rte_mbuf_refcnt_set(objects[i], 2);
		landing->segments[landing->given++] = objects[i];
	}
	return 0;
}

static const struct rte_mempool_ops landing_operations = {
	.name = "shunt_landing",
	.alloc = landing_alloc,
	.enqueue = landing_enqueue,
	.dequeue = landing_take,
	.get_count = landing_count,
};

RTE_MEMPOOL_REGISTER_OPS(landing_operations);

struct shunt_landing *shunt_landing_new(const char *name, struct rte_mempool *pool, unsigned most)
{
	struct shunt_landing *landing = calloc(1, sizeof(*landing) + most * sizeof(landing->segments[0]));
	struct rte_mempool *view;

	if (landing == NULL) {
		rte_errno = ENOMEM;
		return NULL;
	}
	view = rte_mempool_create_empty(name, 1, sizeof(struct rte_mbuf), 0,
					sizeof(struct rte_pktmbuf_pool_private), SOCKET_ID_ANY, 0);
	if (view == NULL) {
		free(landing);
		return NULL;
	}
	if (rte_mempool_set_ops_byname(view, landing_operations.name, NULL) != 0) {
		rte_mempool_free(view);
		free(landing);
		rte_errno = EINVAL;
		return NULL;
	}
	*(struct rte_pktmbuf_pool_private *)rte_mempool_get_priv(view) =
		*(struct rte_pktmbuf_pool_private *)rte_mempool_get_priv(pool);
	view->pool_data = landing;
	landing->view = view;
	landing->pool = pool;
	landing->most = most;
	return landing;
}

void shunt_landing_free(struct shunt_landing *landing)
{
	rte_mempool_free(landing->view);
	free(landing);
}

/* Gives up our references, and frees what the library has given up. */
static void landing_settle(struct shunt_landing *landing)
{
	unsigned i;

	for (i = 0; i < landing->given; i++) {
		struct rte_mbuf *segment = landing->segments[i];

		if (likely(rte_mbuf_refcnt_read(segment) == 2)) {
			rte_mbuf_refcnt_set(segment, 1);
			continue;
		}
		segment->next = NULL;
		segment->nb_segs = 1;
		rte_mbuf_raw_free(segment);
	}
	landing->given = 0;
}

struct shunt_landed shunt_landing_dequeue(struct shunt_landing *landing, int vid, uint16_t queue,
					  struct rte_mbuf **frames, uint16_t count)
{
	landing->begun = 0;
	landing->told = (struct shunt_landed){ 0 };
	landing->told.frames = rte_vhost_dequeue_burst(vid, queue, landing->view, frames, count);
	if (unlikely(landing->given > 0))
		landing_settle(landing);
	return landing->told;
}
