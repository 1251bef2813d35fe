// Package rpcap is the vocabulary of libpcap's remote capture protocol,
// version 0: its messages, their framing and limits, its error codes, the URIs
// that name a capture source and the device names with parameters.
//
// Every message is a header of 8 bytes (version, type, value, length of the
// body) and a body; all integers are big endian, strings have a length and no
// terminator. [Append] writes a message, [Reader] takes one off a stream whole,
// so that a handler can never lose the stream's framing, and [Decode] parses a
// body. Neither knows sockets: sessions live in the daemon and in package
// rpcapclient.
//
// There is no RFC. Where a comment names a struct or file, it means
// rpcap-protocol.h, rpcapd/daemon.c and pcap-rpcap.c of libpcap at commit
// f26ae497. Whatever deviates from them says so with "Deviation:".
package rpcap
