// Package tls reads what TLS says before it encrypts (RFC 8446, RFC 5246): the
// ClientHello and the ServerHello, whatever records and segments they are spread
// over, and alerts in the clear. All else is counted.
package tls
