/* DPDK's static inline functions and macros, as functions that Rust can call. */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/types.h>

#include "shim.h"

uint16_t shunt_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, frames, count);
}

uint16_t shunt_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, frames, count);
}

uint16_t shunt_eth_tx_prepare(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count)
{
	return rte_eth_tx_prepare(port, queue, frames, count);
}

int shunt_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **frames, unsigned count)
{
	return rte_pktmbuf_alloc_bulk(pool, frames, count);
}

int shunt_errno(void)
{
	return rte_errno;
}

uint16_t shunt_eth_find(const char *devargs)
{
	struct rte_dev_iterator iterator;
	uint16_t port;

	if (rte_eth_iterator_init(&iterator, devargs) != 0)
		return RTE_MAX_ETHPORTS;
	port = rte_eth_iterator_next(&iterator);
	if (port < RTE_MAX_ETHPORTS)
		rte_eth_iterator_cleanup(&iterator);
	return port;
}

/* Defined in src/log.rs: copies the line into a bounded queue, never blocks. */
void shunt_log_line(int level, const char *text, size_t length);

static ssize_t log_write(void *cookie, const char *text, size_t length)
{
	(void)cookie;
	shunt_log_line(rte_log_cur_msg_loglevel(), text, length);
	return (ssize_t)length;
}

int shunt_log_to_rust(void)
{
	cookie_io_functions_t functions = { .write = log_write };
	FILE *stream = fopencookie(NULL, "w", functions);

	if (stream == NULL)
		return -1;
	setvbuf(stream, NULL, _IOLBF, 512);
	return rte_openlog_stream(stream);
}
