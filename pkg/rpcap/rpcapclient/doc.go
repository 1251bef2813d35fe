// Package rpcapclient is the client side of one RPCAP session: over TCP, TLS
// or a unix socket, with rpcapd or any other server of the protocol.
//
// A [Client] holds the control connection: one request at a time is answered on
// it. [Client.Start] adds the data connection, a [Stream] of frames. Both work
// at the same time, from different goroutines.
//
//	Dial ──▶ Interfaces …                        (a listing)
//	     └─▶ Open ──▶ Start ──▶ Stream.Next … ──▶ EndCapture ──▶ io.EOF
//	                   UpdateFilter, Stats …  ──▶ Close
//
// A goroutine of the Client reads the control connection for as long as it
// lives; [Client.Close] waits for it. It hands each reply to the request that
// waits, and keeps an ERROR that answers no request for the Stream, which ends
// with it. (libpcap's client takes such an ERROR for the answer to its next
// request and is out of step from then on.)
//
// What is known to deviate among servers is accepted: authentication replies of
// 0, 2 and 8 bytes, listings without a count, NULs in strings, error code 0,
// PACKETs whose length the reference cut to 16 bits, and PACKETs on the control
// connection from servers that name no data port: there the Stream has to be read
// for a request to be answered.
//
// Frames come over TCP, whichever side connects, or over UDP: see [Transport].
// Daemons in active mode, which connect to their client, are met by a [Listener].
//
// The server announces its capture buffer's size so that a client can raise
// SO_RCVBUF to it. Deviation: this client leaves the buffer to the kernel, which
// lets it grow further than the limit on SO_RCVBUF would.
package rpcapclient
