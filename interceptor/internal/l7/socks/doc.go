// Package socks follows the handshake by which a client has a SOCKS proxy connect it to
// somebody: version 4 with its extension 4A
// (https://www.openssh.com/txt/socks4.protocol, https://www.openssh.com/txt/socks4a.protocol)
// and version 5 (RFC 1928), without authentication or with user name and password (RFC
// 1929). That of GSS-API (RFC 1961) is recognised: what follows it is encapsulated.
//
// The messages of one end tell their own lengths, and nothing in them depends on what the
// other end says but what authentication it is; so each end is read on its own, and a
// client that doesn't wait for the answers is understood, too. Who sends such messages, and
// is answered with such, speaks SOCKS.
package socks
