// Package proxyproto reads the header of the PROXY protocol, versions 1 and 2: what
// a proxy sends in front of everything else on a connection, to tell between
// whom the connection is that it forwards
// (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).
package proxyproto
