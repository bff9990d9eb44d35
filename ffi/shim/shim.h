/* What Rust sees of DPDK: its headers, the static inline functions under names of their own,
 * and the constants that bindgen cannot read from macros. */
#ifndef SHUNT_SHIM_H
#define SHUNT_SHIM_H

#include <stddef.h>
#include <stdint.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_vhost.h>

#include "landing.h"

/* mbuf.ol_flags bits (macros with casts, which bindgen skips). */
static const uint64_t SHUNT_RX_L4_CKSUM_MASK = RTE_MBUF_F_RX_L4_CKSUM_MASK;
static const uint64_t SHUNT_RX_L4_CKSUM_GOOD = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
static const uint64_t SHUNT_TX_L4_MASK = RTE_MBUF_F_TX_L4_MASK;
static const uint64_t SHUNT_TX_TCP_CKSUM = RTE_MBUF_F_TX_TCP_CKSUM;
static const uint64_t SHUNT_TX_UDP_CKSUM = RTE_MBUF_F_TX_UDP_CKSUM;
static const uint64_t SHUNT_TX_SCTP_CKSUM = RTE_MBUF_F_TX_SCTP_CKSUM;
static const uint64_t SHUNT_TX_TCP_SEG = RTE_MBUF_F_TX_TCP_SEG;
static const uint64_t SHUNT_TX_UDP_SEG = RTE_MBUF_F_TX_UDP_SEG;
static const uint64_t SHUNT_TX_IPV4 = RTE_MBUF_F_TX_IPV4;
static const uint64_t SHUNT_TX_IPV6 = RTE_MBUF_F_TX_IPV6;
static const uint64_t SHUNT_TX_IP_CKSUM = RTE_MBUF_F_TX_IP_CKSUM;
static const uint64_t SHUNT_TX_OFFLOAD_MASK = RTE_MBUF_F_TX_OFFLOAD_MASK;
/* The flags that say whose buffer a segment uses; they belong to the segment, not to the frame. */
static const uint64_t SHUNT_MBUF_ATTACHED = RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT;

/* ethdev offload capability bits (RTE_BIT64 macros). */
static const uint64_t SHUNT_RXO_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t SHUNT_RXO_CHECKSUM = RTE_ETH_RX_OFFLOAD_CHECKSUM;
static const uint64_t SHUNT_TXO_IPV4_CKSUM = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
static const uint64_t SHUNT_TXO_TCP_CKSUM = RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
static const uint64_t SHUNT_TXO_UDP_CKSUM = RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
static const uint64_t SHUNT_TXO_TCP_TSO = RTE_ETH_TX_OFFLOAD_TCP_TSO;
static const uint64_t SHUNT_TXO_MULTI_SEGS = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;

/* Static inline functions of DPDK. */
uint16_t shunt_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count);
uint16_t shunt_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count);
uint16_t shunt_eth_tx_prepare(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count);
int shunt_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **frames, unsigned count);
int shunt_errno(void);

/* Finds the first port that DEVARGS names; RTE_MAX_ETHPORTS when there is none. */
uint16_t shunt_eth_find(const char *devargs);

/* Sends EAL's log lines to Rust (`shunt_log_line`, defined in src/log.rs). Returns 0 or -1. */
int shunt_log_to_rust(void);

#endif
