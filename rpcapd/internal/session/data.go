package session

import (
	"context"
	"net"
	"time"
)

// DataOpener makes the data connections of a session's captures.
type DataOpener interface {
	// ListenData returns a listener for the connection that the client makes.
	// It may have to wait for another capture's connection, until ctx ends.
	// The listener gives up after timeout. refused is called for each stranger
	// that knocked.
	ListenData(ctx context.Context, timeout time.Duration, refused func()) (DataListener, error)
	// DialData makes the connection to a port of the client, which the session
	// doesn't read from. Network is "tcp" or "udp". It gives up when ctx ends.
	// The text of the error goes to the client.
	DialData(ctx context.Context, network string, port uint16) (*DialedData, error)
}

// DataListener waits for one data connection.
type DataListener interface {
	// Port is what STARTCAP_REPLY announces. It is called for that only: from
	// then on the client may connect.
	Port() uint16
	// Accept returns the control peer's connection; connections of others are
	// closed. It is called once; after the deadline it fails with
	// os.ErrDeadlineExceeded, after Close with net.ErrClosed.
	Accept() (net.Conn, error)
	// Close stops listening; from any goroutine, any number of times.
	Close()
	// Release says that the accepted connection, if any, is closed.
	Release()
}

// DialedData is a data connection that the server made.
type DialedData struct {
	Conn net.Conn
	// MaxDatagram is the longest write that Conn takes as one datagram; 0: it
	// is a stream.
	MaxDatagram int
	// Release says that Conn is closed.
	Release func()
}
