/* Where the vhost library puts what it receives: a pool that hands out buffers of another one, counted.
 *
 * librte_vhost (22.11) makes a chain of buffers for a frame longer than one, as long as the guest's descriptors say, and
 * frees the chain of a frame it gives up BEFORE it has done the small copies into it that it put off
 * (lib/vhost/virtio_net.c: virtio_dev_tx_split, do_data_copy_dequeue). So the buffers that continue a frame are limited in
 * number for each call, and none of them goes back to its pool before the call has returned. */
#ifndef SHUNT_LANDING_H
#define SHUNT_LANDING_H

#include <rte_mempool.h>

struct shunt_landing;

/* What one call of shunt_landing_dequeue found. */
struct shunt_landed {
	/* Frames in the array. */
	uint16_t frames;
	/* Frames that the library dropped because they would have taken more buffers than are allowed. */
	uint16_t refused;
	/* Frames that the library dropped because the pool was empty. */
	uint16_t exhausted;
};

/* A landing on POOL that gives at most MOST continuing buffers a call; NULL, with rte_errno set, when there is no memory. */
struct shunt_landing *shunt_landing_new(const char *name, struct rte_mempool *pool, unsigned most);
void shunt_landing_free(struct shunt_landing *landing);

/* rte_vhost_dequeue_burst. One thread at a time for each landing. */
struct shunt_landed shunt_landing_dequeue(struct shunt_landing *landing, int vid, uint16_t queue,
					  struct rte_mbuf **frames, uint16_t count);

#endif
