// Package session serves one RPCAP control connection.
//
// A [Session] is one goroutine that reads a message, looks up in a table what
// it means in the present state, and does that; only this goroutine writes to
// the control connection. Whatever happens elsewhere (a device that vanishes, a
// daemon that stops) wakes it up. A capture adds a pump, which owns the data
// connection, and a goroutine that watches it.
//
// Behaviour and texts are those of daemon.c of libpcap; where they differ on
// purpose, a comment says "Deviation:".
package session
