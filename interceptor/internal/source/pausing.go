package source

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pausing is a pipe, or what else lets its reader wait, which tells a sink before it
// does.
type pausing struct {
	*os.File
	sink Sink
}

// withPauses returns in, but if it is a file other than a regular one, which never lets
// its reader wait, as one that tells sink of its pauses.
func withPauses(in io.Reader, sink Sink) io.Reader {
	f, ok := in.(*os.File)
	if !ok {
		return in
	}
	if info, err := f.Stat(); err != nil || info.Mode().IsRegular() {
		return in
	}
	return &pausing{f, sink}
}

// Read implements io.Reader.
func (p *pausing) Read(b []byte) (int, error) {
	if !p.readable(0) {
		p.sink.Drained()
		if !p.readable(idleInterval) {
			p.sink.Idle(0)
		}
	}
	return p.File.Read(b)
}

// readable waits, for at most d, until there is something to read or the end is
// reached. If that can't be told it returns false at once.
func (p *pausing) readable(d time.Duration) bool {
	conn, err := p.SyscallConn()
	if err != nil {
		return false
	}
	ready, interrupted := 0, true
	deadline := time.Now().Add(d)
	err = conn.Control(func(fd uintptr) {
		for interrupted {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(max(time.Until(deadline), 0).Milliseconds()))
			ready, interrupted = n, err == unix.EINTR
		}
	})
	return err == nil && ready > 0
}
