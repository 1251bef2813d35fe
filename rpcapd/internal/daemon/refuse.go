//go:build linux

package daemon

import (
	"io"
	"net"
	"time"

	"capstan/pkg/rpcap"
)

// How long a client that is refused has to say something, and then to read
// the refusal, and how much of what it says is read.
const (
	refusalWait   = 2 * time.Second
	refusalLinger = time.Second
	refusalLen    = 256 << 10
)

// refuse sends an ERROR and closes conn. A connection that is closed before
// its input has been read is reset, and the client would see that instead of
// the ERROR; so, as the reference does, it is sent after the first byte came.
func refuse(conn net.Conn, code rpcap.ErrorCode, text string) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(refusalWait))
	var first [1]byte
	_, _ = conn.Read(first[:])
	sendRefusal(conn, code, text)
}

func sendRefusal(conn net.Conn, code rpcap.ErrorCode, text string) {
	_ = conn.SetDeadline(time.Now().Add(refusalLinger))
	if _, err := conn.Write(rpcap.Append(nil, &rpcap.Error{Code: code, Text: text})); err != nil {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, conn, refusalLen)
	}
}
