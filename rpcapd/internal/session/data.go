package session

import (
	"net"
	"time"
)

// DataOpener makes the listeners that the data connections of a session's
// captures come in by.
type DataOpener interface {
	// ListenData returns a listener that gives up at deadline. refused is
	// called for each stranger that knocked.
	ListenData(deadline time.Time, refused func()) (DataListener, error)
}

// DataListener waits for one data connection.
type DataListener interface {
	// Port is what STARTCAP_REPLY announces.
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
