// Package textbook turns frames into exchanges the way that Go's libraries
// suggest, and that most tools of this kind take: gopacket decodes,
// gopacket/tcpassembly puts streams together, a goroutine for each direction
// reads one through a pipe with net/http, or with golang.org/x/net/http2 and its
// hpack, and the messages are paired in their order.
//
// It is what the interceptor's engine is measured against. It does its work
// well on what it can do; it doesn't get over gaps, messages that net/http
// refuses, or connections joined late.
package textbook
