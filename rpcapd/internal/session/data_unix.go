//go:build linux

package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"capstan/pkg/unixsock"
)

// UnixData opens the data listeners of a session on a unix socket: where
// STARTCAP_REPLY announces port N, the data connection is the socket PATH.N.
type UnixData struct {
	Path string // of the control socket
	UID  uint32 // of the control peer; nobody else gets the data
}

// unixTries bounds the search for a port that no other capture uses.
const unixTries = 64

// unixSendBuffer is asked for on data connections; the default holds less
// than one write of the pump.
const unixSendBuffer = 1 << 20

// ListenData implements [DataOpener].
func (d *UnixData) ListenData(_ context.Context, timeout time.Duration, refused func()) (DataListener, error) {
	for range unixTries {
		port := uint16(1 + rand.IntN(1<<16-1))
		l, err := unixsock.Listen(d.Path + "." + strconv.Itoa(int(port)))
		if errors.Is(err, unix.EADDRINUSE) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("data listener: %w", err)
		}
		_ = l.SetDeadline(time.Now().Add(timeout))
		return &unixListener{opener: d, listener: l, port: port, refused: refused}, nil
	}
	return nil, fmt.Errorf("data listener: no free name %s.N found", d.Path)
}

// DialData implements [DataOpener]. A client on a unix socket has no port.
func (d *UnixData) DialData(context.Context, string, uint16) (*DialedData, error) {
	return nil, errors.New("on a unix socket the client has to open the data connection")
}

type unixListener struct {
	opener   *UnixData
	listener *net.UnixListener
	port     uint16
	refused  func()
}

func (l *unixListener) Port() uint16 { return l.port }

func (l *unixListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.listener.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if peer, err := unixsock.PeerOf(conn); err == nil && peer.UID == l.opener.UID {
			_ = conn.SetWriteBuffer(unixSendBuffer)
			return conn, nil
		}
		l.refused()
		conn.Close()
	}
}

func (l *unixListener) Close() { l.listener.Close() } // removes the socket's file

func (l *unixListener) Release() {}
