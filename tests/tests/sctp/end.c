/*
 * An end of SCTP associations by libusrsctp, the stack of FreeBSD in user space, over raw IP sockets.
 *
 *   end serve NAME ADDRESS PORT            answers each message with "NAME PEER PORT" and the message
 *   end both NAME ADDRESS PORT OWN TO PORT does so, and talks from port OWN as the next one does
 *   end talk ADDRESS PORT TO PORT          opens one association, then obeys lines of its input:
 *     say TEXT                             sends a message and prints the answer
 *     big BYTES                            the same with a long one; prints what came back and whether it was the same
 *     close | abort                        ends the association, and prints "closed" when both ends have
 *
 * Every end has one address: it tells no other one to its peer.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <usrsctp.h>

enum { LONGEST = 200000 };

static _Thread_local char message[LONGEST + 1];

/* True in a program that also serves: its stack is never without a socket. */
static int serves;

static void fail(const char *what)
{
	printf("failed: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(1);
}

/* An address of either family; its length. */
static socklen_t address(const char *text, const char *port, struct sockaddr_storage *into)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)into;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)into;
	memset(into, 0, sizeof(*into));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)atoi(port));
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)atoi(port));
		return sizeof(*v6);
	}
	errno = EINVAL;
	fail(text);
	return 0;
}

static struct socket *bound(int kind, const char *host, const char *port)
{
	struct sockaddr_storage own;
	socklen_t length = address(host, port, &own);
	struct socket *socket = usrsctp_socket(own.ss_family, kind, IPPROTO_SCTP, NULL, NULL, 0, NULL);
	const int on = 1;
	if (socket == NULL)
		fail("socket");
	if (usrsctp_setsockopt(socket, IPPROTO_SCTP, SCTP_RECVRCVINFO, &on, sizeof(on)) < 0)
		fail("SCTP_RECVRCVINFO");
	if (usrsctp_setsockopt(socket, IPPROTO_SCTP, SCTP_NODELAY, &on, sizeof(on)) < 0)
		fail("SCTP_NODELAY");
	if (usrsctp_bind(socket, (struct sockaddr *)&own, length) < 0)
		fail("bind");
	return socket;
}

/* A whole message; 0 when the other side has closed. */
static size_t receive(struct socket *socket, struct sockaddr_storage *from, struct sctp_rcvinfo *about)
{
	size_t got = 0;
	for (;;) {
		socklen_t from_length = sizeof(*from), about_length = sizeof(*about);
		unsigned int kind = 0;
		int flags = 0;
		ssize_t part = usrsctp_recvv(socket, message + got, LONGEST - got, (struct sockaddr *)from, &from_length,
		                             about, &about_length, &kind, &flags);
		if (part <= 0)
			return 0;
		got += (size_t)part;
		if (flags & MSG_EOR)
			break;
	}
	message[got] = 0;
	return got;
}

static struct socket *listening(const char *host, const char *port)
{
	struct socket *socket = bound(SOCK_SEQPACKET, host, port);
	if (usrsctp_listen(socket, 64) < 0)
		fail("listen");
	return socket;
}

static void serve(struct socket *socket, const char *name)
{
	for (;;) {
		struct sockaddr_storage from;
		struct sctp_rcvinfo about;
		struct sctp_sndinfo to;
		char peer[INET6_ADDRSTRLEN], head[128];
		const struct sockaddr_in *v4 = (struct sockaddr_in *)&from;
		const struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&from;
		int is_v4, length;
		size_t got = receive(socket, &from, &about);
		if (got == 0)
			continue;
		is_v4 = from.ss_family == AF_INET;
		inet_ntop(from.ss_family, is_v4 ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr, peer, sizeof(peer));
		length = snprintf(head, sizeof(head), "%s %s %u ", name, peer, ntohs(is_v4 ? v4->sin_port : v6->sin6_port));
		if (got + (size_t)length > LONGEST)
			continue;
		memmove(message + length, message, got);
		memcpy(message, head, (size_t)length);
		memset(&to, 0, sizeof(to));
		to.snd_assoc_id = about.rcv_assoc_id;
		if (usrsctp_sendv(socket, message, got + (size_t)length, NULL, 0, &to, sizeof(to), SCTP_SENDV_SNDINFO, 0) < 0)
			perror("sendv");
	}
}

struct service {
	struct socket *socket;
	const char *name;
};

static void *serve_beside(void *argument)
{
	const struct service *service = argument;
	serve(service->socket, service->name);
	return NULL;
}

/* Sends a message and gives how long the answer is. */
static size_t ask(struct socket *socket, const char *text, size_t length)
{
	struct sockaddr_storage from;
	struct sctp_rcvinfo about;
	if (usrsctp_sendv(socket, text, length, NULL, 0, NULL, 0, SCTP_SENDV_NOINFO, 0) < 0)
		fail("sendv");
	return receive(socket, &from, &about);
}

static void ask_long(struct socket *socket, size_t length)
{
	char *sent = malloc(length);
	size_t got, at;
	if (sent == NULL)
		fail("malloc");
	for (at = 0; at < length; at++)
		sent[at] = (char)(at * at + (at >> 8));
	got = ask(socket, sent, length);
	printf("%s %zu\n", got > length && memcmp(message + got - length, sent, length) == 0 ? "same" : "other", got);
	free(sent);
}

static void finish(struct socket *socket, int gracefully)
{
	struct sockaddr_storage from;
	struct sctp_rcvinfo about;
	struct linger linger = { 1, 0 };
	if (gracefully) {
		if (usrsctp_shutdown(socket, SHUT_WR) < 0)
			fail("shutdown");
		while (receive(socket, &from, &about) != 0)
			;
	} else if (usrsctp_setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) < 0) {
		fail("SO_LINGER");
	}
	usrsctp_close(socket);
	/* Until the association is gone. */
	while (!serves && usrsctp_finish() != 0)
		usleep(10000);
	printf("closed\n");
}

static void talk(const char *host, const char *port, const char *to_host, const char *to_port)
{
	struct sockaddr_storage to;
	socklen_t length = address(to_host, to_port, &to);
	struct socket *socket = bound(SOCK_STREAM, host, port);
	char line[1024];
	if (usrsctp_connect(socket, (struct sockaddr *)&to, length) < 0)
		fail("connect");
	printf("open\n");
	while (fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, "say ", 4) == 0) {
			if (ask(socket, line + 4, strlen(line + 4)) == 0)
				snprintf(message, sizeof(message), "over");
			printf("%s\n", message);
		} else if (strncmp(line, "big ", 4) == 0) {
			ask_long(socket, (size_t)atol(line + 4));
		} else {
			finish(socket, strcmp(line, "close") == 0);
			return;
		}
	}
}

int main(int count, char **words)
{
	int buffer = 1 << 20;
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* No UDP around it. */
	usrsctp_init(0, NULL, NULL);
	usrsctp_sysctl_set_sctp_sendspace(buffer);
	usrsctp_sysctl_set_sctp_recvspace(buffer);
	usrsctp_sysctl_set_sctp_no_csum_on_loopback(0);
	if (count == 5 && strcmp(words[1], "serve") == 0) {
		struct socket *socket = listening(words[3], words[4]);
		printf("ready\n");
		serve(socket, words[2]);
	} else if (count == 8 && strcmp(words[1], "both") == 0) {
		static struct service service;
		pthread_t thread;
		service.socket = listening(words[3], words[4]);
		service.name = words[2];
		serves = 1;
		if (pthread_create(&thread, NULL, serve_beside, &service) != 0)
			fail("pthread_create");
		talk(words[3], words[5], words[6], words[7]);
	} else if (count == 6 && strcmp(words[1], "talk") == 0)
		talk(words[2], words[3], words[4], words[5]);
	else
		return 2;
	return 0;
}
