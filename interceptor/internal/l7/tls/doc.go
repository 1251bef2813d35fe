// Package tls reads what TLS says before it encrypts (RFC 8446, RFC 5246): the
// ClientHello and the ServerHello, whatever records and segments they are spread
// over, and alerts in the clear. All else is counted.
//
// Where neither the handshake of TCP nor a hello was seen, messages of TLS 1.2 that only one
// end sends tell who the client is, else the ports do: the server's is the lower one.
package tls
