//go:build !linux

package rpcapclient

// direct returns conn: only on Linux are sockets read in a way of their own.
func direct(conn dataConn) dataConn { return conn }
